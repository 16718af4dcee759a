# Source this (`. tools/env.sh`) for a shell in which mbrl, python -m pytest and the nodes work.
# For bash and zsh from anywhere, for other shells from the root of the repository.
if [ -n "${BASH_SOURCE:-}" ]; then
    mbrl_tools=$(dirname "$BASH_SOURCE")
elif [ -n "${ZSH_VERSION:-}" ]; then
    eval 'mbrl_tools=${${(%):-%x}:h}'
else
    mbrl_tools=${MBRL_TOOLS:-tools}
fi
mbrl_commands=$(sh "$mbrl_tools/environment.sh") && eval "$mbrl_commands"
