package completion

import (
	"fmt"
	"strings"
)

// bash splits -flag=value into three words.
const bashBody = `# bash completion of %[1]s, by: %[1]s completion bash
_sekali_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' words='' IFS=$' \t\n'
	if [[ $cur == = ]]; then
		cur=''
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	COMPREPLY=()
	if ((COMP_CWORD > 1)); then
		case ${COMP_WORDS[1]} in
		%[2]s) command=${COMP_WORDS[1]} ;;
		esac
	fi
	case $command:${prev/#--/-} in
%[3]s	esac
	case $command in
%[4]s	esac
	[[ $cur == --* ]] && words=" $words" && words=${words// -/ --}
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _sekali_%[1]s %[1]s
`

func bash(name string, commands []command) string {
	var values, words strings.Builder
	for _, c := range commands {
		for _, o := range c.flags {
			var reply string
			switch {
			case o.words != nil:
				reply = fmt.Sprintf(`COMPREPLY=($(compgen -W "%s" -- "$cur"))`, strings.Join(o.words, " "))
			case o.kind == file:
				reply = `IFS=$'\n'; compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))`
			case o.kind == folder:
				reply = `IFS=$'\n'; compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur"))`
			case o.kind == nothing:
				continue
			default:
				reply = ":"
			}
			fmt.Fprintf(&values, "\t%s:-%s) %s; return ;;\n", c.Name, o.name, reply)
		}
		all := c.all()
		if c.Name == "" {
			all = names(commands, " ") + " " + all
		}
		fmt.Fprintf(&words, "\t'%s') words='%s' ;;\n", c.Name, all)
	}
	if commands[0].Name != "" { // nothing but commands can come first
		fmt.Fprintf(&words, "\t'') words='%s' ;;\n", names(commands, " "))
	}
	return fmt.Sprintf(bashBody, name, names(commands, "|"), values.String(), words.String())
}

const zshBody = `#compdef %[1]s
# zsh completion of %[1]s, by: %[1]s completion zsh
_sekali_%[1]s() {
	local -a commands=(
%[2]s	)
	if (( CURRENT > 2 )); then
		case $words[2] in
%[3]s		esac
	fi
%[4]s}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
	_sekali_%[1]s "$@"
else
	compdef _sekali_%[1]s %[1]s
fi
`

func zsh(name string, commands []command) string {
	var list, cases strings.Builder
	first := "\t_describe -t commands command commands\n"
	for _, c := range commands {
		switch arguments := zshArguments(c); c.Name {
		case "":
			first = "\t(( CURRENT == 2 )) && _describe -t commands command commands\n\t_arguments " + arguments + "\n"
		default:
			fmt.Fprintf(&list, "\t\t%s\n", quoteZsh(c.Name+":"+c.Summary))
			fmt.Fprintf(&cases, "\t\t%s) shift words; (( CURRENT-- )); _arguments %s; return ;;\n", c.Name, arguments)
		}
	}
	return fmt.Sprintf(zshBody, name, list.String(), cases.String(), first)
}

func zshArguments(c command) string {
	escape := strings.NewReplacer("[", "(", "]", ")", ":", `\:`)
	var all []string
	if c.Words != nil {
		all = append(all, quoteZsh("1:word:("+strings.Join(c.Words, " ")+")"))
	}
	for _, o := range c.flags {
		spec := "-" + o.name
		if o.kind != nothing {
			spec += "="
		}
		spec += "[" + strings.NewReplacer("[", "(", "]", ")").Replace(o.summary) + "]"
		switch {
		case o.words != nil:
			spec += ":" + escape.Replace(o.value) + ":(" + strings.Join(o.words, " ") + ")"
		case o.kind == file:
			spec += ":file:_files"
		case o.kind == folder:
			spec += ":folder:_files -/"
		case o.kind == word:
			spec += ":" + escape.Replace(o.value) + ": "
		}
		all = append(all, quoteZsh(spec))
	}
	return strings.Join(append(all, "'*:file:_files'"), " ")
}

func quoteZsh(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func fish(name string, commands []command) string {
	var all strings.Builder
	fmt.Fprintf(&all, "# fish completion of %[1]s, by: %[1]s completion fish\n", name)
	subcommands := names(commands, " ")
	for _, c := range commands {
		when := "__fish_seen_subcommand_from " + c.Name
		if c.Name == "" {
			when = "not __fish_seen_subcommand_from " + subcommands
		} else {
			fmt.Fprintf(&all, "complete -c %s -n 'not __fish_seen_subcommand_from %s' -f -a %s -d %s\n", name, subcommands, c.Name, quoteFish(c.Summary))
		}
		if c.Words != nil {
			fmt.Fprintf(&all, "complete -c %s -n '%s' -f -a '%s'\n", name, when, strings.Join(c.Words, " "))
		}
		for _, o := range c.flags {
			takes := " -x"
			switch {
			case o.words != nil:
				takes = fmt.Sprintf(" -x -a '%s'", strings.Join(o.words, " "))
			case o.kind == nothing:
				takes = ""
			case o.kind == file:
				takes = " -r -F"
			case o.kind == folder:
				takes = " -x -a '(__fish_complete_directories)'"
			}
			fmt.Fprintf(&all, "complete -c %s -n '%s' -o %s%s -d %s\n", name, when, o.name, takes, quoteFish(o.summary))
		}
	}
	return all.String()
}

func quoteFish(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
