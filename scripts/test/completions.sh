#!/bin/sh
# Programs that read completions and man pages get those of share/, each program if it is installed.
# A test in tests/papers/main.rs compares them with the option table.
set -eu
cd "$(dirname "$0")/../.."
. scripts/lib.sh
share=$PWD/share
names="server client sender receiver"
make_folder
home=$folder

# The words that bash offers for a command line. Words with = and : come in parts, as from readline.
offered() {
    bash -c '. "$0/bash-completion/completions/$1"
        compopt() { echo "compopt $2"; }
        COMP_WORDS=("$@"); unset "COMP_WORDS[0]"; COMP_WORDS=("$1" "${COMP_WORDS[@]:1}")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        "_${1//-/_}"; printf "%s " "${COMPREPLY[@]}"' "$share" "$@" | tr '\n' ' ' | sed 's/ *$//'
}
# expect WORDS LINE...: bash offers exactly these words.
expect() {
    wanted=$1
    shift
    found=$(offered "$@")
    [ "$found" = "$wanted" ] || fail "bash: $*: '$found' and not '$wanted'"
}
if have bash; then
    for name in $names; do bash -n "$share/bash-completion/completions/ropewalk-$name"; done
    expect "--verify" ropewalk-client --veri
    expect "--help" ropewalk-client box : 80 --he
    expect "md5 crc32c none" ropewalk-client --verify ""
    expect "crc32c" ropewalk-client --verify c
    expect "md5" ropewalk-client --verify = m
    expect "md5 crc32c none" ropewalk-client --verify =
    expect "compopt default" ropewalk-client --auth pass
    expect "compopt default" ropewalk-client box : 8080 4 file ""
    expect "compopt default" ropewalk-client -- '[' :: '1]' : 8080 4 --file -
    expect "compopt default" ropewalk-client --verify md5 --limit-rate=1M box 4 file o
    expect "auto" ropewalk-client box : 8080 ""
    expect "" ropewalk-client box : 8080 4 ""
    expect "compopt dirnames" ropewalk-server --root ""
    expect "" ropewalk-server 80
    expect "compopt default" ropewalk-sender 9000 ""
    expect "compopt dirnames" ropewalk-receiver box 9000 4 ""
else
    skipped "bash's completions: bash is not installed"
fi

if have fish; then
    # begins WORD LINE: fish offers this word first, whether ? is any character, as before fish 4,
    # or only itself.
    begins() {
        for features in no-qmark-noglob qmark-noglob; do
            found=$(cd scripts && HOME=$home fish --no-config --features $features -c \
                "source $share/fish/vendor_completions.d/${2%% *}.fish; complete -C '$2'" 2>/dev/null |
                cut -f 1 | head -n 1)
            [ "$found" = "$1" ] || fail "fish, $features: $2: '$found' and not '$1'"
        done
    }
    for name in $names; do fish --no-execute "$share/fish/vendor_completions.d/ropewalk-$name.fish"; done
    begins --verify "ropewalk-client --veri"
    begins crc32c "ropewalk-client --verify c"
    begins --verify=crc32c "ropewalk-client --verify=c"
    begins demo.sh "ropewalk-client --limit-rate 1M box:80 4 file dem"
    begins demo.sh "ropewalk-client -q --restart --verify=md5 box:80 4 file dem"
    begins demo.sh "ropewalk-client - 4 file dem"
    begins "" "ropewalk-client box:80 4 dem"
    begins "" "ropewalk-client -q box:80 4 dem"
    begins auto "ropewalk-client -q box:80 a"
    begins demo.sh "ropewalk-sender 9000 dem"
else
    skipped "fish's completions: fish is not installed"
fi

if have zsh; then
    for name in $names; do
        zsh -n "$share/zsh/site-functions/_ropewalk-$name"
    done
    cat >"$home/typed" <<'ZSH'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= PS2=; fpath=($1/zsh/site-functions \$fpath); autoload -Uz compinit"
zpty -w shell "compinit -u -D; bindkey '^I' complete-word; print REA''DY"
while zpty -r shell line; do [[ $line == *READY* ]] && break; done
zpty -w shell "$2"$'\t'"; print DO''NE"
while zpty -r shell line; do print -r -- "$line"; [[ $line == *DONE* ]] && break; done
ZSH
    # typed LINE: what a terminal shows after this line and a tab are typed into zsh.
    typed() { HOME=$home timeout 60 zsh -f "$home/typed" "$share" "$1"; }
    typed "ropewalk-client --ver" | grep -q -- '--verify  *-- what to check' || fail "zsh: no --verify"
    typed "ropewalk-client --verify=c" | grep -q -- '--verify=crc32c' || fail "zsh: no crc32c"
else
    skipped "zsh's completions: zsh is not installed"
fi

for name in $names; do
    page=$share/man/man1/ropewalk-$name.1
    if have mandoc; then
        # The pages bear no date, and mandoc warns about that.
        complaints=$(mandoc -Tlint "$page" | grep -v 'missing date' || true)
        [ -z "$complaints" ] || fail "$complaints"
    fi
    if have groff; then
        complaints=$(groff -man -Tascii -ww -z "$page" 2>&1)
        [ -z "$complaints" ] || fail "$complaints"
    fi
done
