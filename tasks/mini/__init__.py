"""The embedded tasks `mini` and `mini_cls`: a seeded grammar, its vocabulary, two pre-trained models.

This package imports nothing, so that the grammar can be used without TensorFlow.
"""
