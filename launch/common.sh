# shellcheck shell=bash
# Functions of the scripts in this folder, which source it. Works with bash 3.2, which macOS has.

# What `parse_options` sets. The scripts give their own options a value before it.
dry_run=0 config='' workdir=''
# Whether the workdir may be an address in a bucket (gs://): nothing but the run itself uses it.
buckets=0
EXTRA=()

# The header comment of the script is its help.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# A mistake of the caller: status 2, as of `alchemint`.
die() {
  printf '%s: error: %s\nFor help: %s --help\n' "${0##*/}" "$1" "$0" >&2
  exit 2
}

# parse_options "VALUES" "FLAGS" ARGUMENT...
# Each `--some-name X` of VALUES becomes the variable some_name; each `--flag` of FLAGS becomes 1.
# What comes after `--` is kept in EXTRA.
parse_options() {
  # Names that no option has: they would hide its variable.
  local _values=" $1 " _flags=" $2 dry-run " _name
  shift 2
  while (($#)); do
    _name=${1#--}
    case $1 in
      --help | -h) usage && exit 0 ;;
      --)
        shift
        EXTRA=("$@")
        return
        ;;
      --*)
        if [[ $_flags == *" $_name "* ]]; then
          printf -v "${_name//-/_}" 1
        elif [[ $_values == *" $_name "* ]]; then
          [[ $# -gt 1 && -n $2 && $2 != --* ]] || die "--$_name needs a value"
          printf -v "${_name//-/_}" '%s' "$2"
          shift
        else
          die "unknown option --$_name"
        fi
        ;;
      *) die "unexpected argument: $1" ;;
    esac
    shift
  done
}

# require NAME...: these options must have been given.
require() {
  local _name _variable
  for _name; do
    _variable=${_name//-/_}
    [[ -n ${!_variable} ]] || die "--$_name is required"
  done
}

# whole NAME: this option is a whole number of at least 1.
whole() {
  [[ ${!1} =~ ^[1-9][0-9]*$ ]] || die "--${1//_/-} must be a whole number of at least 1, got ${!1}"
}

# plain_path NAME [OR]: this option is an absolute path that no shell on its way can misunderstand.
plain_path() {
  [[ ${!1} =~ ^/[A-Za-z0-9._/-]+$ ]] ||
    die "--$1 ${!1}: give an absolute path, of letters, digits and ._- (of mounted storage${2:-, not gs://})"
}

# What `alchemint train` is given on every host, checked as far as this machine can, in TRAIN.
# Status 75 (EX_TEMPFAIL) tells schedulers a run that was stopped and saved from one that is done.
train_command() {
  local _word _or=''
  require config workdir
  [[ -f ${config%%:*} ]] || die "--config $config: no such file; give it from the top of the repository"
  [[ $config != /* ]] || die "--config $config: give it from the top of the repository"
  [[ $buckets == 0 ]] || _or='; or gs://BUCKET/PATH'
  [[ $buckets == 1 && $workdir =~ ^gs://[A-Za-z0-9._/-]+$ ]] || plain_path workdir "$_or"
  for _word in ${EXTRA[@]+"${EXTRA[@]}"}; do
    [[ $_word == --config.*=* ]] || die "after -- only --config.FIELD=VALUE, got $_word"
  done
  TRAIN=(alchemint train --config "$config" --workdir "$workdir" ${EXTRA[@]+"${EXTRA[@]}"})
  TRAIN+=(--interrupted-status 75 "$@")
}

# A command as it would have to be typed.
quoted() {
  local _word _line='' _quote="'\\''"
  for _word; do
    [[ $_word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || _word="'${_word//\'/$_quote}'"
    _line+=" $_word"
  done
  printf '%s\n' "${_line# }"
}

# Runs a command, or with --dry-run prints it.
run() {
  if [[ $dry_run == 1 ]]; then
    quoted "$@"
  else
    command -v "$1" > /dev/null || die "$1 is not installed"
    "$@"
  fi
}
