"""Does semantic augmentation help a classifier, and against what? ``python -m benchmarks.classification --help``.

Every run trains one classifier from scratch. Runs of one seed start from the same weights and see the same images in
the same order for the same number of steps. They differ in their base, which is how they meet the imbalance
(``bases``), and in their arm, which is how they augment (``arms``). ``protocol`` says what identifies a run, and
``measure`` what is measured. ``store`` keeps one line for each finished run, and ``queue`` does many runs one after
another.
"""
