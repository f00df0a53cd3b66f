# Draws the times of scripts/bench/loopback.sh: a bar of seconds for each tool, ropewalk's in green.
# Lines are MILLISECONDS|OURS|LABEL|CHECKS, and mib is the size of the file.
BEGIN { FS = "|" }
{ seconds[NR] = $1 / 1000; ours[NR] = $2; label[NR] = $3; checks[NR] = $4 }
seconds[NR] > longest { longest = seconds[NR] }
END {
    row = 30; top = 64; left = 270; width = 330; height = top + NR * row + 20
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 %d\" width=\"920\" height=\"%d\" role=\"img\" font-family=\"sans-serif\" font-size=\"13\">\n", height, height
    printf "<title>Seconds for %d MiB over loopback</title>\n", mib
    printf "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
    printf "<text x=\"20\" y=\"28\" font-size=\"16\" font-weight=\"bold\">Seconds for %d MiB over loopback, 4 streams where a tool has them</text>\n", mib
    printf "<text x=\"20\" y=\"48\" fill=\"#555555\">2 cores, file in memory, medians of interleaved rounds; shorter is better</text>\n"
    for (i = 1; i <= NR; i++) {
        y = top + (i - 1) * row
        bar = seconds[i] / longest * width
        printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\"%s>%s</text>\n", left - 10, y + 18, ours[i] ? " font-weight=\"bold\"" : "", label[i]
        printf "<rect x=\"%d\" y=\"%d\" width=\"%.0f\" height=\"18\" fill=\"%s\"/>\n", left, y + 4, bar, ours[i] ? "#2f7d5b" : "#9aa5b1"
        printf "<text x=\"%.0f\" y=\"%d\">%.2f <tspan fill=\"#555555\" font-size=\"12\">%s</tspan></text>\n", left + bar + 8, y + 18, seconds[i], checks[i]
    }
    print "</svg>"
}
