"""The colours of all plots.

They begin from Okabe and Ito's set, which readers with any colour blindness tell apart, and are darkened where needed
so that each one stands out from white paper by 3 to 1, as WCAG 2.1 asks of the parts of a drawing (success criterion
1.4.11). No plot rests on colour alone: lines have styles and bars have hatches of their own, which print without
colour.

References
----------
M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

BLUE, ORANGE, GREEN, PINK = "#005A9C", "#C08000", "#009E73", "#C76A9F"
VERMILLION, SKY, BLACK = "#B84700", "#3E97D1", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PINK, VERMILLION, SKY, BLACK)
