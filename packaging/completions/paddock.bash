# bash completion for paddock

_paddock() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} words=
    case $prev in
    --socket | --output) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --cgroup-root | --plugin-dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    --docker) return ;;
    esac
    if [ "$COMP_CWORD" = 1 ]; then
        words='status check events metrics debug enable disable version help'
    else
        case $command in
        status) words='--json --watch --socket --help' ;;
        check) words='--json --docker --cgroup-root --socket --help' ;;
        events) words='--json --socket --help' ;;
        metrics) words='--socket --help' ;;
        debug) words='--output --socket --help' ;;
        enable) words='docker paddock --plugin-dir --help' ;;
        disable) words='docker paddock --plugin-dir --all --help' ;;
        version) words='--verbose' ;;
        help) words='status check events metrics debug enable disable version' ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _paddock paddock
