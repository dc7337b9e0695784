"""Charts as SVG, made on the server. Pure: numbers in, markup out; colours and sizes are the style sheet's."""
