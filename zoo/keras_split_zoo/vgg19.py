"""VGG19: sixteen plain convolutions, the largest cut tensors."""

from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PRESET = ImagePreset(
    name="vgg19",
    summary="VGG19: sixteen plain convolutions, the largest cut tensors.",
    model="keras.applications.vgg19:VGG19",
    preprocess="keras.applications.vgg19:preprocess_input",
    min_size=32,
    paper="Simonyan and Zisserman, arXiv:1409.1556",
    candidates_file="keras_split_zoo:candidates/vgg19.json",
    cuts={
        "spliteasy": Cut(
            layers=("block1_pool", "fc2"),
            facts=Facts(
                phone_parameters=79_690,
                server_parameters=139_531_520,
                phone_multiply_adds=1_936_433_152,
                server_multiply_adds=17_691_574_272,
                smashed=((112, 112, 64),),
                features=((4096,),),
            ),
        ),
        "deep": Cut(
            layers=("block4_pool", "fc2"),
            facts=Facts(
                phone_parameters=10_626_122,
                server_parameters=128_985_088,
                phone_multiply_adds=17_658_781_696,
                server_multiply_adds=1_969_225_728,
                smashed=((14, 14, 512),),
                features=((4096,),),
            ),
        ),
        "light": Cut(
            layers=("block1_conv1", "fc2"),
            facts=Facts(
                phone_parameters=42_762,
                server_parameters=139_568_448,
                phone_multiply_adds=86_745_088,
                server_multiply_adds=19_541_262_336,
                smashed=((224, 224, 64),),
                features=((4096,),),
            ),
        ),
    },
)
