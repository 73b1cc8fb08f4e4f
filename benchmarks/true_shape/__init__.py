"""Checkpoints of the published models' shape, without their weights: made from a seed, and around the mini.

Random weights alone give outputs that no search and no quantisation can agree on. These checkpoints hold the mini
inside a random network of the full shape: the mini's dimensions are the first of the residual stream, its layers are
spread over the depth, and everything else is random, of the same cost, and heard in every log-probability. So a
prompt is answered as the mini answers it, at the price of the published model. It is a stand-in for measuring: its
codes are worth what the mini's are.
"""
