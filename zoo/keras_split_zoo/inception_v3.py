"""Inception v3: parallel branches of several kernel sizes."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="inception_v3",
    summary="Inception v3: parallel branches of several kernel sizes.",
    model="keras.applications.inception_v3:InceptionV3",
    preprocess="keras.applications.inception_v3:preprocess_input",
    min_size=75,
    paper="Szegedy et al., arXiv:1512.00567",
    candidates_file="keras_split_zoo:candidates/inception_v3.json",
    cuts={
        "spliteasy": Cut(
            layers=("MaxPooling2D#1", "avg_pool"),
            facts=Facts(
                phone_parameters=49_386,
                server_parameters=21_773_888,
                phone_multiply_adds=339_151_712,
                server_multiply_adds=2_496_741_888,
                smashed=((54, 54, 64),),
                features=((2048,),),
            ),
        ),
        "deep": Cut(
            layers=("mixed8", "avg_pool"),
            facts=Facts(
                phone_parameters=10_695_338,
                server_parameters=11_127_936,
                phone_multiply_adds=2_558_184_800,
                server_multiply_adds=277_708_800,
                smashed=((5, 5, 1280),),
                features=((2048,),),
            ),
        ),
        "light": Cut(
            layers=("Activation#1", "avg_pool"),
            facts=Facts(
                phone_parameters=21_450,
                server_parameters=21_801_824,
                phone_multiply_adds=10_665_824,
                server_multiply_adds=2_825_227_776,
                smashed=((111, 111, 32),),
                features=((2048,),),
            ),
        ),
    },
)
