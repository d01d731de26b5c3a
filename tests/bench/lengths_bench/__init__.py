"""How well answer lengths are predicted, beside simpler predictors, on instructions held out.

    PYTHONPATH=tests/bench python -m lengths_bench FILE.json [FILE.json ...] [--ceiling N]

A file holds a list of `{"instruction", "input", "output"}`. Lengths are those of the given
outputs in the chat model's tokens. Every predictor learns from the same 70 % and is judged on the
rest, over several splits. With `--ceiling` the model itself answers N instructions twice: the
agreement of its two runs is what no predictor can pass.
"""
