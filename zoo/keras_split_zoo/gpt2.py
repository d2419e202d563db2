"""GPT-2: a language model that writes what comes next."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import TextPreset

PRESET = TextPreset(
    name="gpt2",
    summary="GPT-2: a language model; its matrix of words stays on the phone.",
    model="keras_hub.models:GPT2CausalLM",
    backbone="keras_hub.models:GPT2Backbone",
    sizes={
        "vocabulary_size": 50_257,
        "num_layers": 12,
        "num_heads": 12,
        "hidden_dim": 768,
        "intermediate_dim": 3072,
        "dropout": 0.1,
        "max_sequence_length": 1024,
    },
    pretrained="gpt2_base_en",
    paper="Radford et al., Language Models are Unsupervised Multitask Learners",
    cuts={
        "spliteasy": Cut(
            layers=("transformer_layer_0", "layer_norm"),
            facts=Facts(
                phone_parameters=46_471_680,
                server_parameters=77_968_128,
                phone_multiply_adds=5_871_599_616,
                server_multiply_adds=10_242_490_368,
                smashed=((128, 768),),
                features=((128, 768),),
                shared_bytes=16,
            ),
        ),
        "deep": Cut(
            layers=("transformer_layer_9", "layer_norm"),
            facts=Facts(
                phone_parameters=110_262_528,
                server_parameters=14_177_280,
                phone_multiply_adds=14_251_819_008,
                server_multiply_adds=1_862_270_976,
                smashed=((128, 768),),
                features=((128, 768),),
                shared_bytes=16,
            ),
        ),
        "light": Cut(
            layers=("embeddings_add", "layer_norm"),
            facts=Facts(
                phone_parameters=39_383_808,
                server_parameters=85_056_000,
                phone_multiply_adds=4_940_464_128,
                server_multiply_adds=11_173_625_856,
                smashed=((128, 768),),
                features=((128, 768),),
                shared_bytes=16,
            ),
        ),
    },
)
