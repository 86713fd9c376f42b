# Shows how far pip is, from its own output: one line that counts on a terminal, a line for every forty elsewhere.
BEGIN { terminal = system("test -t 1") == 0 }
/^Collecting / {
    count++
    if (terminal) printf "\r  %d of %d %-40.40s", count, total, $2
    else if (count % 40 == 0) printf "  %d of %d\n", count, total
    fflush()
}
/^Installing / {
    printf "%s  %d fetched, installing\n", terminal ? "\r" : "", count
    fflush()
}
