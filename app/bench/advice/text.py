def corpus():
    return open("/work/shared/data/shakespeare.txt", "rb").read()
