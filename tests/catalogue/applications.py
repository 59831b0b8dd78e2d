"""Networks of `keras.applications` with random weights, at small images."""

import keras
from catalogue.architecture import Problem, architecture, images, labels, logits_loss


def application(build, side=32, **settings):
    network = build(input_shape=(side, side, 3), weights=None, classes=3, classifier_activation=None, **settings)
    return Problem(network, images(side), labels(3), logits_loss())


@architecture()
def mobile_net():
    return application(keras.applications.MobileNet, alpha=0.25)


@architecture()
def mobile_net_v2():
    return application(keras.applications.MobileNetV2, alpha=0.35)


@architecture()
def mobile_net_v3_small():
    return application(keras.applications.MobileNetV3Small, alpha=0.5, minimalistic=False, include_preprocessing=False)


@architecture()
def efficient_net_b0():
    return application(keras.applications.EfficientNetB0)


@architecture()
def efficient_net_v2_b0():
    return application(keras.applications.EfficientNetV2B0, include_preprocessing=False)


@architecture()
def dense_net_121():
    return application(keras.applications.DenseNet121)


@architecture()
def resnet_50():
    return application(keras.applications.ResNet50)


@architecture()
def resnet_50_v2():
    return application(keras.applications.ResNet50V2)


@architecture()
def vgg_16():
    body = keras.applications.VGG16(include_top=False, input_shape=(32, 32, 3), weights=None, pooling="max")
    network = keras.Model(body.input, keras.layers.Dense(3)(body.output))
    return Problem(network, images(32), labels(3), logits_loss())


@architecture()
def nas_net_mobile():
    return application(keras.applications.NASNetMobile)


@architecture()
def xception():
    return application(keras.applications.Xception, 71)


@architecture()
def conv_ne_xt_tiny():
    return application(keras.applications.ConvNeXtTiny)
