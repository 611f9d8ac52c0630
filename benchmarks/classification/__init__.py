"""Does semantic augmentation help a classifier, and compared with what? ``python -m benchmarks.classification --help``.

Every run trains one classifier from scratch. Runs with the same seed start from the same weights and see the same
images in the same order for the same number of steps. They differ in their base, which is how they handle class
imbalance (``bases``), and in their arm, which is how they augment (``arms``). ``protocol`` defines what identifies a
run, and ``measure`` defines the metrics. ``store`` keeps one line for each finished run, and ``queue`` executes many
runs one after another.
"""
