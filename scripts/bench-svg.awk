# Draws the ratios of scripts/bench.sh: one bar each, and a mark where it was wanted.
BEGIN { FS = "|" }
{ label[NR] = $1; value[NR] = $2; wanted[NR] = $3 }
END {
    row = 44; left = 20; width = 600; scale = width / 1.6
    height = NR * row + 70
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"13\">\n", width + 2 * left + 40, height
    printf "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
    printf "<text x=\"%d\" y=\"22\" font-size=\"15\">Time that ropewalk takes, as a share of the other tool's (shorter is better)</text>\n", left
    for (i = 1; i <= NR; i++) {
        y = 30 + (i - 1) * row
        bar = value[i] * scale; if (bar > width) bar = width
        good = value[i] <= wanted[i]
        printf "<text x=\"%d\" y=\"%d\">%s</text>\n", left, y + 16, label[i]
        printf "<rect x=\"%d\" y=\"%d\" width=\"%.0f\" height=\"14\" fill=\"%s\"/>\n", left, y + 21, bar, good ? "#3b7a57" : "#b5523b"
        printf "<text x=\"%.0f\" y=\"%d\">%s</text>\n", left + bar + 5, y + 33, value[i]
        printf "<line x1=\"%.0f\" y1=\"%d\" x2=\"%.0f\" y2=\"%d\" stroke=\"#222222\" stroke-width=\"2\"/>\n", left + wanted[i] * scale, y + 18, left + wanted[i] * scale, y + 38
    }
    printf "<text x=\"%d\" y=\"%d\" fill=\"#555555\">black mark: what was wanted; bars end at 1.6</text>\n", left, height - 14
    print "</svg>"
}
