"""How far two right results in float32 may lie apart."""

# A sum of n products in another order moves by at most n units of the last place (Higham, Accuracy and Stability of
# Numerical Algorithms, 3.1), and unit vectors are compared. The tiny checkpoint's longest sums are over its 128 inner
# channels or 128 tokens, in each of 2 layers. Padding that leaked, or a wrong mask, moves a vector by 1e-2.
_LONGEST_SUM, _LAYERS = 128, 2
FP32 = _LAYERS * _LONGEST_SUM * 2**-24
