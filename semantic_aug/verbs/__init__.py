"""What ``semantic-aug VERB`` does: a module for each verb, whose ``run`` takes the parsed options.

``semantic_aug.cli`` parses them and imports the one module that is asked for. ``data``, ``devices`` and ``paths`` are
what the verbs share.
"""
