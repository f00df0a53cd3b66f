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
                case --auth --verify --max-delete --exclude --include --exclude-from -e --rsh --remote-server --streams --limit-rate --connect-timeout --retry-for --progress --trace
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
complete -c ropewalk-client -l push -d 'send FILE, a file or a folder here or - for standard input, to OFILE on a server with --writable, or through --rsh'
complete -c ropewalk-client -l auth -r -F -d 'file with the line user:password, for a server that asks for a password'
complete -c ropewalk-client -l auth-md5 -d 'answer with MD5 too, for an old server that lacks SHA-256'
complete -c ropewalk-client -l verify -x -a 'md5 crc32c none' -d 'check the blocks and the whole file (md5), the blocks only (crc32c), or nothing (none) (default: md5 for a file, crc32c for a folder)'
complete -c ropewalk-client -l delete -d 'delete in OFILE what the server\'s folder does not have, at most half of it'
complete -c ropewalk-client -l max-delete -x -d 'with --delete: if more than N entries would go, delete none (default: half of them)'
complete -c ropewalk-client -s n -l dry-run -d 'change nothing; with -v, show what would be done'
complete -c ropewalk-client -l exclude -x -d 'leave out what matches: *, ?, [a-z], **; /x at the top only, x/ folders only'
complete -c ropewalk-client -l include -x -d 'do not leave out what matches; the first pattern that matches decides'
complete -c ropewalk-client -l exclude-from -r -F -d 'leave out what matches a line of FILE'
complete -c ropewalk-client -l checksum -d 'compare contents, and not size and mtime'
complete -c ropewalk-client -l ignore-existing -d 'leave as it is whatever is there'
complete -c ropewalk-client -l update -d 'leave files that are newer here'
complete -c ropewalk-client -s H -l hard-links -d 'make names of one file on the server names of one file here'
complete -c ropewalk-client -l owner -d 'keep owners, by number, and the set-id bits (as root)'
complete -c ropewalk-client -s x -l one-file-system -d 'do not enter other file systems that are mounted in the server\'s folder'
complete -c ropewalk-client -s e -l rsh -x -a 'ssh' -d 'reach the other machine with COMMAND, such as ssh or \'docker exec -i\'; the address is its host, which takes the place of %h'
complete -c ropewalk-client -l remote-server -x -d 'the server program on the other machine (default: ropewalk-server)'
complete -c ropewalk-client -l streams -x -a 'auto' -d 'number of streams for a URL, 1 to 255; auto finds a good number (default: auto)'
complete -c ropewalk-client -l limit-rate -x -d 'limit to RATE bytes per second; K, M, G mean KiB, MiB, GiB (default: no limit)'
complete -c ropewalk-client -l single-port -d 'use the port in the address for all streams, and try no other port'
complete -c ropewalk-client -l connect-timeout -x -d 'time to connect to one address (default: 10), and to wait for a reply (default: no limit)'
complete -c ropewalk-client -l retry-for -x -d 'time to wait for a full server, and to reach a lost server again (default: 60)'
complete -c ropewalk-client -l restart -d 'fetch the whole file anew, whatever is there'
complete -c ropewalk-client -l whole -d 'fetch every byte, also those that an older file has already'
complete -c ropewalk-client -l no-sync -d 'do not wait for the disk, except before the file gets its mtime'
complete -c ropewalk-client -l progress -x -a 'auto bar plain json none' -d 'how to show progress on standard error (default: auto)'
complete -c ropewalk-client -l trace -r -F -d 'draw a picture of the transfer: the rate and the faults of each stream'
complete -c ropewalk-client -s q -l quiet -d 'print errors only'
complete -c ropewalk-client -s v -l verbose -d 'show the MD5 of the file too; of a folder, each change'
complete -c ropewalk-client -s h -l help -d 'show this help'
complete -c ropewalk-client -s V -l version -d 'show the version'
complete -c ropewalk-client -n '__ropewalk_client_place 0' -a '(__fish_print_hostnames)' -d 'host:port of the server; or a URL that names the file too, with or without http://; or [user@]host:path, which means ssh'
complete -c ropewalk-client -n '__ropewalk_client_place 1' -a 'auto' -d 'number of streams, 1 to 255, or auto; not with a URL'
complete -c ropewalk-client -n '__ropewalk_client_place 3' -F -d 'the output file, a folder for it, or - for standard output; for a folder: the folder that gets its content (default: its own name, in this folder). With --push, the name on the server'
