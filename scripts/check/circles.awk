# Prints each circle of files that import each other, within the library or one program.
#
#   awk -f scripts/check/circles.awk -- FILE...
#
# The files are all of src/common, or of one program. Paths that begin with crate::, super:: or
# self:: count as imports, in `use` and elsewhere, and so does `mod NAME;`. An import from a file
# above in its own folder does not count: both are one module. Tests do not count.

# The module of a file, as names joined by colons: src/bin/server/index/page.rs is index:page.
function module_of(file) {
    sub(/^src\/common\//, "", file)
    sub(/^src\/bin\/[a-z]*\//, "", file)
    sub(/\.rs$/, "", file)
    gsub("/", ":", file)
    return file == "main" || file == "lib" ? "" : file
}

function above(module) {
    return sub(/:[^:]*$/, "", module) ? module : ""
}

# The longest prefix of `path` that names a file is an import of `from`.
function import(from, path) {
    while (path != "" && !(path in file_of)) path = above(path)
    if (path == "" || path == from || index(from ":", path ":") == 1) return
    if (!((from, path) in known)) {
        known[from, path] = 1
        imports[from] = imports[from] " " path
    }
}

# The path of `text`, seen from `module`, as names from the crate on. Empty for another crate.
function resolve(module, text,    base) {
    gsub(/[[:space:]]/, "", text)
    gsub(/::/, ":", text)
    if (sub(/^crate:/, "", text)) return text
    base = module
    if (text ~ /^super:/) while (sub(/^super:/, "", text)) base = above(base)
    else if (!sub(/^self:/, "", text)) return ""
    return base == "" ? text : base ":" text
}

# Splits `prefix{a, b::{c, d}}` into its paths.
function expand(module, text,    open, depth, place, start, sign, prefix) {
    open = index(text, "{")
    if (!open) {
        sub(/[[:space:]]as[[:space:]].*/, "", text)
        import(module, resolve(module, text))
        return
    }
    prefix = substr(text, 1, open - 1)
    start = open + 1
    depth = 1
    for (place = start; place <= length(text); place++) {
        sign = substr(text, place, 1)
        if (sign == "{") depth++
        if (sign == "}") depth--
        if (depth == 0 || (depth == 1 && sign == ",")) {
            expand(module, prefix substr(text, start, place - start))
            start = place + 1
        }
        if (depth == 0) return
    }
}

function scan(file,    module, line, pending, is_test, path) {
    module = module_of(file)
    pending = ""
    is_test = 0
    while ((getline line < file) > 0) {
        sub(/^[[:space:]]*\/\/.*/, "", line)
        sub(/[[:space:]]\/\/ .*/, "", line)
        if (line ~ /^#\[cfg\(test\)\]/) { is_test = 1; continue }
        # Unit tests are the end of a file.
        if (is_test && line ~ /^mod /) break
        if (line !~ /^#/) is_test = 0
        if (line ~ /^(pub(\([^)]*\))? )?mod [a-z0-9_]+;/) {
            sub(/^.*mod /, "", line)
            sub(/;.*/, "", line)
            import(module, module == "" ? line : module ":" line)
            continue
        }
        if (pending == "" && line ~ /^[[:space:]]*(pub(\([^)]*\))? )?use /) {
            sub(/^[[:space:]]*(pub(\([^)]*\))? )?use /, "", line)
            pending = " "
        }
        if (pending != "") {
            pending = pending line
            if (line !~ /;/) continue
            sub(/;.*/, "", pending)
            expand(module, pending)
            pending = ""
            continue
        }
        while (match(line, /(crate|super|self)::[A-Za-z0-9_:]*/)) {
            path = substr(line, RSTART, RLENGTH)
            line = substr(line, RSTART + RLENGTH)
            import(module, resolve(module, path))
        }
    }
    close(file)
}

# The shortest way from `first` back to itself. Empty if there is none.
function circle(first,    queue, head, tail, from, names, count, i, module, way, seen) {
    queue[tail = 1] = first
    for (head = 1; head <= tail; head++) {
        module = queue[head]
        count = split(imports[module], names, " ")
        for (i = 1; i <= count; i++) {
            if (names[i] == first) {
                way = file_of[first]
                for (; module != first; module = from[module]) way = file_of[module] " -> " way
                return file_of[first] " -> " way
            }
            if (!(names[i] in seen)) {
                seen[names[i]] = 1
                from[names[i]] = module
                queue[++tail] = names[i]
            }
        }
    }
    return ""
}

BEGIN {
    for (i = 1; i < ARGC; i++) {
        if (ARGV[i] ~ /(^|\/)tests(\.rs$|\/)/) continue
        files[++total] = ARGV[i]
        file_of[module_of(ARGV[i])] = ARGV[i]
    }
    for (i = 1; i <= total; i++) scan(files[i])
    for (i = 1; i <= total; i++) {
        way = circle(module_of(files[i]))
        if (way != "") print way
    }
}
