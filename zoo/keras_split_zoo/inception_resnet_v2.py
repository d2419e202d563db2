"""Inception-ResNet v2: Inception blocks with residual edges."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="inception_resnet_v2",
    summary="Inception-ResNet v2: Inception blocks with residual edges.",
    model="keras.applications.inception_resnet_v2:InceptionResNetV2",
    preprocess="keras.applications.inception_resnet_v2:preprocess_input",
    min_size=75,
    paper="Szegedy et al., arXiv:1602.07261",
    candidates_file="keras_split_zoo:candidates/inception_resnet_v2.json",
    cuts={
        "spliteasy": Cut(
            layers=("MaxPooling2D#1", "avg_pool"),
            facts=Facts(
                phone_parameters=44_266,
                server_parameters=54_307_840,
                phone_multiply_adds=339_146_592,
                server_multiply_adds=6_128_293_888,
                smashed=((54, 54, 64),),
                features=((1536,),),
            ),
        ),
        "deep": Cut(
            layers=("mixed_7a", "avg_pool"),
            facts=Facts(
                phone_parameters=30_789_738,
                server_parameters=23_562_368,
                phone_multiply_adds=5_879_664_480,
                server_multiply_adds=587_776_000,
                smashed=((5, 5, 2080),),
                features=((1536,),),
            ),
        ),
        "light": Cut(
            layers=("Activation#1", "avg_pool"),
            facts=Facts(
                phone_parameters=16_330,
                server_parameters=54_335_776,
                phone_multiply_adds=10_660_704,
                server_multiply_adds=6_456_779_776,
                smashed=((111, 111, 32),),
                features=((1536,),),
            ),
        ),
    },
)
