"""BERT tiny: a text classifier of two blocks."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import TextPreset

PRESET = TextPreset(
    name="bert_tiny",
    summary="BERT tiny: a text classifier of two blocks.",
    model="keras_hub.models:BertTextClassifier",
    backbone="keras_hub.models:BertBackbone",
    sizes={
        "vocabulary_size": 30_522,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 128,
        "intermediate_dim": 512,
        "dropout": 0.1,
        "max_sequence_length": 512,
    },
    task={"dropout": 0.1},
    classes=2,
    pretrained="bert_tiny_en_uncased",
    paper="Turc et al., arXiv:1908.08962",
    cuts={
        "spliteasy": Cut(
            layers=("transformer_layer_0", "pooled_dense"),
            facts=Facts(
                phone_parameters=4_171_394,
                server_parameters=214_784,
                phone_multiply_adds=29_360_384,
                server_multiply_adds=29_376_512,
                smashed=((128, 128),),
                features=((128,),),
                shared_bytes=16,
            ),
        ),
        "deep": Cut(
            layers=("transformer_layer_0", "pooled_dense"),
            facts=Facts(
                phone_parameters=4_171_394,
                server_parameters=214_784,
                phone_multiply_adds=29_360_384,
                server_multiply_adds=29_376_512,
                smashed=((128, 128),),
                features=((128,),),
                shared_bytes=16,
            ),
        ),
        "light": Cut(
            layers=("embeddings_layer_norm", "pooled_dense"),
            facts=Facts(
                phone_parameters=3_973_122,
                server_parameters=413_056,
                phone_multiply_adds=256,
                server_multiply_adds=58_736_640,
                smashed=((128, 128),),
                features=((128,),),
                shared_bytes=16,
            ),
        ),
    },
)
