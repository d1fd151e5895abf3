"""The application: data, training, cache, evaluation and the command lines."""
