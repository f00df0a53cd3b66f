# fish completion for ropewalk-server. Made from src/common/app/programs.rs by `make papers`; do not edit.

function __ropewalk_server_place
    set -l words (commandline -opc)
    set -l place 0
    set -l pending no
    for word in $words[2..-1]
        if test $pending = yes
            set pending no
        else
            switch $word
                case --bind --data-ports --root --user --auth --max-connections --max-transfers --max-per-address --max-streams --request-timeout --idle-timeout --stall-timeout --metrics --limit-rate
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

complete -c ropewalk-server -f
complete -c ropewalk-server -s h -l help -d 'show this help message and exit'
complete -c ropewalk-server -s V -l version -d 'show the version and exit'
complete -c ropewalk-server -l bind -x -d 'listen on this address only (default: all, IPv6 and IPv4)'
complete -c ropewalk-server -l data-ports -x -d 'take the data ports of transfers from these (default: any that is free)'
complete -c ropewalk-server -l root -x -a '(__fish_complete_directories)' -d 'send only what is in this folder (default: every file that can be read)'
complete -c ropewalk-server -l index -d 'show what is in a folder: HTML, or JSON for who asks for that'
complete -c ropewalk-server -l user -x -a '(__fish_complete_users)' -d 'once the port is taken, stop being root and become this user'
complete -c ropewalk-server -l auth -r -F -d 'serve only who knows a password of this file, user:password a line'
complete -c ropewalk-server -l auth-md5 -d 'with --auth, let in old clients too that know no SHA-256'
complete -c ropewalk-server -l any-address -d 'take streams that show a session\'s token from any address'
complete -c ropewalk-server -l max-connections -x -d 'control connections open at once (default: 256)'
complete -c ropewalk-server -l max-transfers -x -d 'transfers under way at once (default: 256)'
complete -c ropewalk-server -l max-per-address -x -d 'of them for clients at one address (default: 64)'
complete -c ropewalk-server -l max-streams -x -d 'streams of one transfer, 1 to 255 (default: 255)'
complete -c ropewalk-server -l request-timeout -x -d 'how long a client may take to send a request (default: 10)'
complete -c ropewalk-server -l idle-timeout -x -d 'how long a transfer may lack streams, and a connection requests (default: 30)'
complete -c ropewalk-server -l stall-timeout -x -d 'break off a stream that takes no data for this long (default: 60)'
complete -c ropewalk-server -l metrics -x -d 'serve numbers for Prometheus there, under /-/metrics, to everybody'
complete -c ropewalk-server -l limit-rate -x -d 'bytes a second of all transfers together; K, M, G for 1024s (default: none)'
complete -c ropewalk-server -s q -l quiet -d 'log nothing but errors'
complete -c ropewalk-server -s v -l verbose -d 'log more of what happens'
