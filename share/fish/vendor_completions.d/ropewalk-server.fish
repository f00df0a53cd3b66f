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
                case --root --bind --data-ports --metrics --auth --trust-proxy --user --writable --max-upload --max-files --keep-free --limit-rate --max-connections --max-transfers --max-per-address --max-streams --request-timeout --idle-timeout --stall-timeout --log
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
complete -c ropewalk-server -l root -x -a '(__fish_complete_directories)' -d 'serve only the files in this folder (default: every file that the server can read)'
complete -c ropewalk-server -l index -d 'list a folder as an HTML page, or as JSON for clients that ask for JSON'
complete -c ropewalk-server -l stdio -d 'serve one client over standard input and output, as client -e ssh starts this program'
complete -c ropewalk-server -l bind -x -d 'listen on this address only (default: all addresses, IPv6 and IPv4)'
complete -c ropewalk-server -l data-ports -x -d 'take the data ports of transfers from this range (default: any free port)'
complete -c ropewalk-server -l metrics -x -d 'serve metrics for Prometheus at this address, under /-/metrics, without a password'
complete -c ropewalk-server -l auth -r -F -d 'serve only the users in this file, which has a line user:password for each user'
complete -c ropewalk-server -l auth-md5 -d 'with --auth, accept MD5 too; wget needs it, curl and Chromium do not'
complete -c ropewalk-server -l any-address -d 'accept streams with the token of a session from any address'
complete -c ropewalk-server -l trust-proxy -x -d 'take the client address from X-Forwarded-For in requests of this proxy'
complete -c ropewalk-server -l user -x -a '(__fish_complete_users)' -d 'give up root once the port is open, and become this user'
complete -c ropewalk-server -l writable -x -a '(__fish_complete_directories)' -d 'take uploads into this folder, which is within --root; needs --auth or --writable-by-anyone'
complete -c ropewalk-server -l writable-by-anyone -d 'with --writable, take uploads from everybody who can connect, without a password'
complete -c ropewalk-server -l max-upload -x -d 'with --writable, the most bytes of an uploaded file, such as 500M or 10G (default: no limit)'
complete -c ropewalk-server -l max-files -x -d 'with --writable, the most entries of a folder that is pushed (default: no limit)'
complete -c ropewalk-server -l keep-free -x -d 'with --writable, refuse uploads that would leave less of the file system free (default: 5)'
complete -c ropewalk-server -l allow-delete -d 'with --writable, let a client that pushes a folder delete what it does not have'
complete -c ropewalk-server -l allow-owner -d 'with --writable, let a client that pushes a folder set owners and set-id bits'
complete -c ropewalk-server -l push -d 'with --stdio, let the client write and delete what this user may, beneath --root and --writable'
complete -c ropewalk-server -l limit-rate -x -d 'limit all transfers, downloads and uploads together to RATE bytes per second; K, M, G mean KiB, MiB, GiB (default: no limit)'
complete -c ropewalk-server -l max-connections -x -d 'maximum control connections (default: 256)'
complete -c ropewalk-server -l max-transfers -x -d 'maximum transfers (default: 256)'
complete -c ropewalk-server -l max-per-address -x -d 'maximum transfers per client address (default: 64)'
complete -c ropewalk-server -l max-streams -x -d 'maximum streams per transfer, 1 to 255 (default: 255)'
complete -c ropewalk-server -l request-timeout -x -d 'time for a client to send a request (default: 10)'
complete -c ropewalk-server -l idle-timeout -x -d 'time after which the server ends a transfer without streams, or a connection without requests (default: 30)'
complete -c ropewalk-server -l stall-timeout -x -d 'time after which the server ends a stream that takes no data (default: 60)'
complete -c ropewalk-server -l log -r -F -d 'log to this file, and reopen it on SIGUSR1 (default: standard error)'
complete -c ropewalk-server -s q -l quiet -d 'log errors only'
complete -c ropewalk-server -s v -l verbose -d 'log more details'
complete -c ropewalk-server -s h -l help -d 'show this help'
complete -c ropewalk-server -s V -l version -d 'show the version'
