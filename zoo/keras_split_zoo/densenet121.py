"""DenseNet121: each layer reads all layers before it."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="densenet121",
    summary="DenseNet121: each layer reads all layers before it.",
    model="keras.applications.densenet:DenseNet121",
    preprocess="keras.applications.densenet:preprocess_input",
    min_size=32,
    paper="Huang et al., arXiv:1608.06993",
    candidates_file="keras_split_zoo:candidates/densenet121.json",
    cuts={
        "spliteasy": Cut(
            layers=("pool1", "avg_pool"),
            facts=Facts(
                phone_parameters=19_914,
                server_parameters=7_027_840,
                phone_multiply_adds=118_024_192,
                server_multiply_adds=2_715_123_712,
                smashed=((56, 56, 64),),
                features=((1024,),),
            ),
        ),
        "deep": Cut(
            layers=("pool3_pool", "avg_pool"),
            facts=Facts(
                phone_parameters=1_455_178,
                server_parameters=5_592_576,
                phone_multiply_adds=2_076_895_232,
                server_multiply_adds=756_252_672,
                smashed=((14, 14, 256),),
                features=((1024,),),
            ),
        ),
        "light": Cut(
            layers=("pool1", "avg_pool"),
            facts=Facts(
                phone_parameters=19_914,
                server_parameters=7_027_840,
                phone_multiply_adds=118_024_192,
                server_multiply_adds=2_715_123_712,
                smashed=((56, 56, 64),),
                features=((1024,),),
            ),
        ),
    },
)
