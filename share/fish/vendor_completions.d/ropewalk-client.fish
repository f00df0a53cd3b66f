# fish completion for ropewalk-client. Made from src/common/app/programs.rs by `make papers`; do not edit.

function __ropewalk_client_place
    set -l words (commandline -opc)
    set -l place 0
    set -l pending no
    for word in $words[2..-1]
        if test $pending = yes
            set pending no
        else
            switch $word
                case --auth --connect-timeout --retry-for --verify --limit-rate --trace --progress
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

complete -c ropewalk-client -f
complete -c ropewalk-client -s h -l help -d 'show this help message and exit'
complete -c ropewalk-client -s V -l version -d 'show the version and exit'
complete -c ropewalk-client -l auth -r -F -d 'where the server asks for a password: a file with one line, user:password'
complete -c ropewalk-client -l auth-md5 -d 'with --auth, answer an old server too that knows no SHA-256'
complete -c ropewalk-client -l single-port -d 'send the streams to the server\'s own port without trying another'
complete -c ropewalk-client -l connect-timeout -x -d 'limit of each address (default: 10) and of waits for replies (default: none)'
complete -c ropewalk-client -l retry-for -x -d 'how long to wait for a full server, or to go on with a transfer (default: 60)'
complete -c ropewalk-client -l verify -x -a 'md5 crc32c none' -d 'md5: the whole file and each block; crc32c: each block (default: md5)'
complete -c ropewalk-client -l limit-rate -x -d 'bytes a second at most; K, M, G for 1024s (default: none)'
complete -c ropewalk-client -l restart -d 'ignore what an earlier run left, and start over'
complete -c ropewalk-client -l no-sync -d 'do not wait for the disk: a power cut may cost the file'
complete -c ropewalk-client -l trace -r -F -d 'draw the transfer: what each stream brought, and what befell it'
complete -c ropewalk-client -l progress -x -a 'auto bar plain json none' -d 'how to tell on standard error how far it is (default: auto)'
complete -c ropewalk-client -s q -l quiet -d 'print nothing but errors'
complete -c ropewalk-client -n '__ropewalk_client_place 0' -a '(__fish_print_hostnames)' -d 'server address, in host:port format'
complete -c ropewalk-client -n '__ropewalk_client_place 1' -a 'auto' -d 'number of streams to receive the file over, 1 to 255, or auto'
complete -c ropewalk-client -n '__ropewalk_client_place 3' -F -d 'output file, or a folder; - for standard output (default: file\'s base name, here)'
