"""MobileNetV2: the small network made for phones."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="mobilenet_v2",
    summary="MobileNetV2: the small network made for phones.",
    model="keras.applications.mobilenet_v2:MobileNetV2",
    preprocess="keras.applications.mobilenet_v2:preprocess_input",
    min_size=32,
    paper="Sandler et al., arXiv:1801.04381",
    candidates_file="keras_split_zoo:candidates/mobilenet_v2.json",
    cuts={
        "spliteasy": Cut(
            layers=("expanded_conv_project_BN", "GlobalAveragePooling2D#1"),
            facts=Facts(
                phone_parameters=14_794,
                server_parameters=2_256_000,
                phone_multiply_adds=20_886_016,
                server_multiply_adds=278_621_056,
                smashed=((112, 112, 16),),
                features=((1280,),),
            ),
        ),
        "deep": Cut(
            layers=("block_13_project_BN", "GlobalAveragePooling2D#1"),
            facts=Facts(
                phone_parameters=729_354,
                server_parameters=1_541_440,
                phone_multiply_adds=225_481_792,
                server_multiply_adds=74_025_280,
                smashed=((7, 7, 160),),
                features=((1280,),),
            ),
        ),
        "light": Cut(
            layers=("Conv1_relu", "GlobalAveragePooling2D#1"),
            facts=Facts(
                phone_parameters=13_802,
                server_parameters=2_256_992,
                phone_multiply_adds=10_850_816,
                server_multiply_adds=288_656_256,
                smashed=((112, 112, 32),),
                features=((1280,),),
            ),
        ),
    },
)
