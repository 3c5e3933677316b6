//! From cells to ids and numbers: the same code in training and serving.
