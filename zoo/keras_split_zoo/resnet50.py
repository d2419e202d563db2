"""ResNet50: residual blocks of three convolutions."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="resnet50",
    summary="ResNet50: residual blocks of three convolutions.",
    model="keras.applications.resnet:ResNet50",
    preprocess="keras.applications.resnet:preprocess_input",
    min_size=32,
    paper="He et al., Deep Residual Learning, arXiv:1512.03385",
    candidates_file="keras_split_zoo:candidates/resnet50.json",
    cuts={
        "spliteasy": Cut(
            layers=("pool1_pool", "avg_pool"),
            facts=Facts(
                phone_parameters=30_218,
                server_parameters=23_577_984,
                phone_multiply_adds=118_034_432,
                server_multiply_adds=3_737_911_296,
                smashed=((56, 56, 64),),
                features=((2048,),),
            ),
        ),
        "deep": Cut(
            layers=("conv5_block1_out", "avg_pool"),
            facts=Facts(
                phone_parameters=14_664_586,
                server_parameters=8_943_616,
                phone_multiply_adds=3_419_213_824,
                server_multiply_adds=436_731_904,
                smashed=((7, 7, 2048),),
                features=((2048,),),
            ),
        ),
        "light": Cut(
            layers=("pool1_pool", "avg_pool"),
            facts=Facts(
                phone_parameters=30_218,
                server_parameters=23_577_984,
                phone_multiply_adds=118_034_432,
                server_multiply_adds=3_737_911_296,
                smashed=((56, 56, 64),),
                features=((2048,),),
            ),
        ),
    },
)
