"""Does semantic augmentation help a classifier, and against what?"""
