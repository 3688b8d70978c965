"""Tables that m3rt_distill made so that they pack into less (its channels.py); any other table passes through."""
