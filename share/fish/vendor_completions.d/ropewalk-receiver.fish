# fish completion for ropewalk-receiver. Made from src/common/app/programs.rs by `make papers`; do not edit.

function __ropewalk_receiver_place
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

complete -c ropewalk-receiver -f
complete -c ropewalk-receiver -l job -d 'read the job from the parent program, on standard input'
complete -c ropewalk-receiver -s h -l help -d 'show this help'
complete -c ropewalk-receiver -s V -l version -d 'show the version'
complete -c ropewalk-receiver -n '__ropewalk_receiver_place 0' -a '(__fish_print_hostnames)' -d 'the host of the sender'
complete -c ropewalk-receiver -n '__ropewalk_receiver_place 3' -a '(__fish_complete_directories)' -d 'the folder for the part files 0.prt, 1.prt, ...'
