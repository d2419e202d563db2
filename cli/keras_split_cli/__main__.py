"""`python -m keras_split_cli` is `keras-split`."""

from keras_split_cli.main import main

main()
