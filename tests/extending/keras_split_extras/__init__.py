"""Four things that keras_split does not have, one a module.

Nothing is imported here: a command line that wants the codec need not wait
for Keras, which the defense imports.
"""
