# fish completion for paddock

complete -c paddock -f
set -l commands status check events metrics debug enable disable version help
set -l first "not __fish_seen_subcommand_from $commands"
complete -c paddock -n $first -a status -d 'What the running driver does'
complete -c paddock -n $first -a check -d 'Whether this machine is fit for the driver'
complete -c paddock -n $first -a events -d 'Follow corrections and changes of state'
complete -c paddock -n $first -a metrics -d 'Counters as Prometheus text'
complete -c paddock -n $first -a debug -d 'Collect what a bug report needs'
complete -c paddock -n $first -a enable -d 'Link the driver into plugin_dir'
complete -c paddock -n $first -a disable -d 'Remove it from there'
complete -c paddock -n $first -a version -d 'The version'
complete -c paddock -n $first -a help -d 'The commands, or the usage of one'
complete -c paddock -n '__fish_seen_subcommand_from status check events' -l json -d 'As JSON'
complete -c paddock -n '__fish_seen_subcommand_from status' -l watch -d 'Again each second'
complete -c paddock -n '__fish_seen_subcommand_from status check events metrics debug' -l socket -r -F -d 'The socket of one driver'
complete -c paddock -n '__fish_seen_subcommand_from check' -l docker -x -d 'Endpoint of dockerd'
complete -c paddock -n '__fish_seen_subcommand_from check' -l cgroup-root -x -a '(__fish_complete_directories)' -d 'Where cgroup v2 is'
complete -c paddock -n '__fish_seen_subcommand_from debug' -l output -r -F -d 'The file to make'
complete -c paddock -n '__fish_seen_subcommand_from enable disable' -l plugin-dir -x -a '(__fish_complete_directories)' -d 'The plugin_dir of the agent'
complete -c paddock -n '__fish_seen_subcommand_from enable disable' -a 'docker paddock'
complete -c paddock -n '__fish_seen_subcommand_from disable' -l all -d 'Every link'
complete -c paddock -n '__fish_seen_subcommand_from version' -l verbose -d 'Also commit and libraries'
complete -c paddock -n '__fish_seen_subcommand_from help' -a 'status check events metrics debug enable disable version'
