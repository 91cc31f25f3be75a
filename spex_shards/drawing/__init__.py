"""Systems as drawings: where states and lines go, and SVG that needs no other program."""
