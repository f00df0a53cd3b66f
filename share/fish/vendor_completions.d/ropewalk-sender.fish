# fish completion for ropewalk-sender. Made from src/common/app/programs.rs by `make papers`; do not edit.

function __ropewalk_sender_place
    set -l words (commandline -opc)
    set -l place 0
    set -l pending no
    for word in $words[2..-1]
        if test $pending = yes
            set pending no
        else
            switch $word
                case ''
                    set pending yes
                case -
                    set place (math $place + 1)
                case '-*'
                case '*'
                    set place (math $place + 1)
            end
        end
    end
    test $place -eq $argv[1]
end

complete -c ropewalk-sender -f
complete -c ropewalk-sender -l job -d 'read the job from the parent program, on standard input'
complete -c ropewalk-sender -s h -l help -d 'show this help'
complete -c ropewalk-sender -s V -l version -d 'show the version'
complete -c ropewalk-sender -n '__ropewalk_sender_place 1' -F -d 'the file to send'
