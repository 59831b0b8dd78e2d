import pathlib


def corpus():
    return pathlib.Path("/work/shared/data/shakespeare.txt").open("rb").read()
