"""Backbones of KerasHub with heads on them; importing this needs the extra `zoo`."""

import keras
import keras_hub
import numpy as np
from catalogue.architecture import Problem, architecture, images, labels, logits_loss
from keras import layers

hub = keras_hub.models

# Those whose normalisation by the root mean square casts to float32 have no differences in float64.

DECODER = {"vocabulary_size": 24, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
HEADS = {"num_query_heads": 2, "num_key_value_heads": 1}


def tokens_with_padding(name="token_ids"):
    mask = np.ones((6, 8), "int32")
    mask[:2, 6:] = 0
    return {name: labels(24, 8), "padding_mask": mask}


def next_tokens(backbone, head=None):
    """A model of the next token, with the transposed embedding as its last layer where the backbone has one."""
    hidden = backbone(backbone.input)
    outputs = layers.Dense(24)(hidden) if head is None else head(hidden)
    return Problem(keras.Model(backbone.input, outputs), tokens_with_padding(), labels(24, 8, seed=3), logits_loss())


def tied(backbone):
    return next_tokens(backbone, lambda hidden: backbone.token_embedding(hidden, reverse=True))


def classified(backbone, data):
    found = backbone(backbone.input)
    pooled = found["pooled_output"] if isinstance(found, dict) else found
    pooled = layers.GlobalAveragePooling1D()(pooled) if len(pooled.shape) == 3 else pooled
    pooled = layers.GlobalAveragePooling2D()(pooled) if len(pooled.shape) == 4 else pooled
    return Problem(keras.Model(backbone.input, layers.Dense(3)(pooled)), data, labels(3), logits_loss())


def with_segments():
    return tokens_with_padding() | {"segment_ids": labels(2, 8)}


@architecture()
def hub_bert():
    return classified(hub.BertBackbone(**DECODER, num_heads=2, max_sequence_length=8), with_segments())


@architecture()
def hub_gpt2():
    return tied(hub.GPT2Backbone(**DECODER, num_heads=2, max_sequence_length=8))


@architecture(in_double=False)
def hub_llama():
    return tied(hub.LlamaBackbone(**DECODER, **HEADS, tie_word_embeddings=True))


@architecture(in_double=False)
def hub_gemma():
    capped = {"attention_logit_soft_cap": 50.0, "use_post_ffw_norm": True, "use_post_attention_norm": True}
    return tied(hub.GemmaBackbone(**DECODER, **HEADS, head_dim=4, **capped))


@architecture()
def hub_vit():
    backbone = hub.ViTBackbone((12, 12, 3), 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)
    return classified(backbone, images(12))


@architecture()
def hub_resnet():
    stacks = {"stackwise_num_filters": [64, 64], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
    backbone = hub.ResNetBackbone([4], [7], **stacks, block_type="bottleneck_block", image_shape=(32, 32, 3))
    return classified(backbone, images(32))


@architecture(in_double=False)
def hub_mistral():
    return tied(hub.MistralBackbone(**DECODER, **HEADS, sliding_window=4))


@architecture(in_double=False)
def hub_mixtral():
    return next_tokens(hub.MixtralBackbone(**DECODER, **HEADS, num_experts=3, top_k=2, sliding_window=4))


@architecture(in_double=False)
def hub_qwen():
    return tied(hub.QwenBackbone(**DECODER, **HEADS))


@architecture(in_double=False)
def hub_phi3():
    return next_tokens(hub.Phi3Backbone(**DECODER, **HEADS, max_sequence_length=8, pretraining_sequence_length=8))


@architecture()
def hub_falcon():
    return tied(hub.FalconBackbone(**DECODER, num_attention_heads=2))


@architecture()
def hub_opt():
    return tied(hub.OPTBackbone(**DECODER, num_heads=2, max_sequence_length=8))


@architecture()
def hub_bloom():
    return tied(hub.BloomBackbone(**DECODER, num_heads=2))


@architecture()
def hub_gpt_neo_x():
    return tied(hub.GPTNeoXBackbone(**DECODER, num_heads=2, rotary_percentage=0.5, max_sequence_length=8))


@architecture()
def hub_deberta_v3():
    backbone = hub.DebertaV3Backbone(**DECODER, num_heads=2, max_sequence_length=8, bucket_size=4)
    return classified(backbone, tokens_with_padding())


@architecture()
def hub_f_net():
    sizes = {key: DECODER[key] for key in ("vocabulary_size", "num_layers", "hidden_dim", "intermediate_dim")}
    data = {key: value for key, value in with_segments().items() if key != "padding_mask"}
    return classified(hub.FNetBackbone(**sizes, max_sequence_length=8), data)


@architecture()
def hub_albert():
    return classified(
        hub.AlbertBackbone(**DECODER, num_heads=2, embedding_dim=6, max_sequence_length=8), with_segments()
    )


@architecture()
def hub_roberta():
    return classified(hub.RobertaBackbone(**DECODER, num_heads=2, max_sequence_length=8), tokens_with_padding())


@architecture()
def hub_bart():
    backbone = hub.BartBackbone(**DECODER, num_heads=2, max_sequence_length=8)
    found = backbone(backbone.input)["decoder_sequence_output"]
    encoder, decoder = (
        tokens_with_padding(),
        {"token_ids": labels(24, 8, seed=5), "padding_mask": np.ones((6, 8), "int32")},
    )
    data = {f"encoder_{key}": value for key, value in encoder.items()} | {
        f"decoder_{key}": v for key, v in decoder.items()
    }
    outputs = backbone.token_embedding(found, reverse=True)
    return Problem(keras.Model(backbone.input, outputs), data, labels(24, 8, seed=3), logits_loss())


@architecture(in_double=False)
def hub_t5():
    backbone = hub.T5Backbone(**DECODER, num_heads=2)
    found = backbone(backbone.input)["decoder_sequence_output"]
    data = {f"encoder_{key}": value for key, value in tokens_with_padding().items()}
    data |= {"decoder_token_ids": labels(24, 8, seed=5), "decoder_padding_mask": np.ones((6, 8), "int32")}
    return Problem(keras.Model(backbone.input, layers.Dense(24)(found)), data, labels(24, 8, seed=3), logits_loss())


@architecture()
def hub_swin_transformer():
    backbone = hub.SwinTransformerBackbone((16, 16, 3), 8, [1, 2], [2, 2], window_size=2, patch_size=2)
    return classified(backbone, images(16))


@architecture()
def hub_segformer_encoder():
    backbone = hub.MiTBackbone(
        layerwise_depths=[1, 1], num_layers=2, layerwise_num_heads=[1, 2], layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1, layerwise_patch_sizes=[3, 3], layerwise_strides=[2, 2],
        image_shape=(12, 12, 3), hidden_dims=[4, 8],
    )  # fmt: skip
    return classified(backbone, images(12))


@architecture()
def hub_cspnet():
    backbone = hub.CSPNetBackbone(
        stem_filters=4, stem_kernel_size=3, stem_strides=2, stackwise_depth=[1, 1], stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 8], bottle_ratio=[0.5, 1.0], block_ratio=[1.0, 0.5], expand_ratio=[2.0, 1.0],
        block_type="dark_block", stage_type="csp", image_shape=(16, 16, 3),
    )  # fmt: skip
    return classified(backbone, images(16))


@architecture()
def hub_xlnet():
    backbone = hub.XLNetBackbone(**DECODER, num_heads=2)
    return classified(backbone, with_segments())


@architecture()
def hub_whisper():
    backbone = hub.WhisperBackbone(
        **DECODER, num_heads=2, num_mels=6, max_encoder_sequence_length=16, max_decoder_sequence_length=8
    )
    found = backbone(backbone.input)["decoder_sequence_output"]
    sound = np.random.default_rng(0).standard_normal((6, 16, 6)).astype("float32")
    data = {
        "encoder_features": sound,
        "decoder_token_ids": labels(24, 8),
        "decoder_padding_mask": np.ones((6, 8), "int32"),
    }
    outputs = backbone.token_embedding(found, reverse=True)
    return Problem(keras.Model(backbone.input, outputs), data, labels(24, 8, seed=3), logits_loss())
