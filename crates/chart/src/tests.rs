//! The evaluator alone; that it agrees with Helm is tested beside the real one.

use super::*;
use serde_json::json;

fn release() -> Release {
    Release { name: "odigos".into(), namespace: "a".into(), service: "Helm".into() }
}

fn chart(template: &str, values: &str) -> Chart {
    let files = [
        ("Chart.yaml", "name: c\nversion: 1.0.0\nappVersion: 2.0.0\n"),
        ("values.yaml", values),
        ("templates/a.yaml", template),
        ("files/one.yaml", "b: 1\n"),
        ("files/two.txt", "two"),
    ];
    Chart::from_files(files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()).unwrap()
}

fn text(template: &str) -> Result<String, String> {
    let chart = chart(template, "t: text\nnum: 3\nbig: 2000000\nempty: \"\"\nl: [p, q]\nm: {k: v}\n");
    let values = chart.values(&json!({})).unwrap();
    match chart.texts(&values, &release()) {
        Ok(texts) => Ok(texts["templates/a.yaml"].clone()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_template_of_the_chart_is_within_what_is_known() {
    let chart = Chart::embedded().unwrap();
    let objects = chart.render(&json!({}), &release()).unwrap();
    assert!(objects.len() > 30, "{}", objects.len());
    assert!(objects.iter().all(|object| !object["metadata"].to_string().contains("helm.sh/hook")), "no hooks");
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    let first = |kind: &str| kinds.iter().position(|one| *one == kind).unwrap();
    assert!(first("CustomResourceDefinition") < first("ClusterRole"));
    assert!(first("ClusterRole") < first("ClusterRoleBinding") && first("ClusterRoleBinding") < first("ConfigMap"));
    assert!(first("ConfigMap") < first("Deployment") && first("Deployment") < first("MutatingWebhookConfiguration"));
    assert_eq!(chart.metadata().name, "odigos");
    assert!(chart.metadata().oldest_kubernetes().is_some());
}

#[test]
fn values_are_refused_with_their_path() {
    let chart = Chart::embedded().unwrap();
    let refused = |values: Value| chart.render(&values, &release()).unwrap_err().to_string();
    assert_eq!(refused(json!({"image": {"prefiks": "x"}})), "image.prefiks: there is no such value");
    assert!(refused(json!({"controllers": {"replicas": "many"}})).starts_with("controllers.replicas: "));
    assert_eq!(chart.unknown(&json!({"image": {"prefiks": "x"}})).unwrap(), ["image.prefiks".to_owned()].into());
}

#[test]
fn go_templates_as_far_as_they_are_known() {
    for (template, expected) in [
        ("a {{- \" b\" -}}  c", "a bc"),
        ("{{/* x }} */}}a\n{{- /* y */ -}}\nb", "ab"),
        ("{{ .Values.t }}{{ $.Values.num }}{{ .Values.nope }}", "text3"),
        ("{{ if .Values.empty }}a{{ else if .Values.nope }}b{{ else }}c{{ end }}", "c"),
        ("{{ with .Values.m }}{{ .k }}{{ $.Values.t }}{{ else }}none{{ end }}", "vtext"),
        ("{{ range $i, $x := .Values.l }}{{ $i }}{{ $x }}{{ . }}{{ end }}", "0pp1qq"),
        (
            "{{ range $k, $v := .Values.m }}{{ $k }}={{ $v }}{{ end }}{{ range .Values.nope }}x{{ else }}y{{ end }}",
            "k=vy",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 9 }}{{ $x }}{{ end }}{{ $x }}", "92"),
        (
            "{{ define \"d\" }}{{ .a }}{{ $.a }}{{ end }}[{{ include \"d\" (dict \"a\" \"z\") | nindent 2 }}]",
            "[\n  zz]",
        ),
        ("{{ (index .Values.l 1) | quote }}{{ (dict \"a\" (list 1 2)).a | toYaml }}", "\"q\"- 1\n- 2"),
        (
            "{{ $m := dict \"a\" 1 }}{{ $_ := set $m \"b\" (merge (dict) (dict \"c\" 2)) }}{{ toYaml $m }}",
            "a: 1\nb:\n  c: 2",
        ),
        (
            "{{ range $p, $_ := .Files.Glob \"files/*.yaml\" }}{{ $p }} {{ ($.Files.Get $p | fromYaml).b }}{{ end }}",
            "files/one.yaml 1",
        ),
        ("{{ kindIs \"map\" .Values.m }} {{ kindIs \"map\" .Values.t }}", "true false"),
        ("{{ and .Values.t .Values.empty }}|{{ or .Values.empty .Values.t (fail \"never\") }}", "|text"),
        ("{{ printf \"%s-%d %v%%\" .Values.t (int .Values.num) true }}", "text-3 true%"),
        ("{{ gt (int .Values.num) 2 }}{{ eq \"a\" \"b\" \"a\" }}{{ `raw\"` }}", "truetrueraw\""),
        ("{{ .Release.Name }} {{ .Chart.AppVersion }}", "odigos 2.0.0"),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_not_known_is_refused_where_it_stands() {
    for (template, said) in [
        ("\n{{ lookup \"v1\" \"Secret\" \"a\" \"b\" }}", "templates/a.yaml:2: the function lookup"),
        ("{{ .Capabilities.KubeVersion }}", ".Capabilities is not offered"),
        ("{{ .Release.IsInstall }}", ".IsInstall is not offered"),
        ("{{ .Values.nope.deeper }}", ".deeper of a nothing"),
        ("{{ .Values.big }}", "exponent"),
        ("{{ .Values.m }}", "cannot be printed"),
        ("{{ gt .Values.num 2 }}", "gt"),
        ("{{ eq .Values.num 3 }}", "use int"),
        ("{{ set .Values.m \"a\" 1 }}", "never changed"),
        ("{{ $x }}", "not declared"),
        ("{{ $x = 1 }}", "not declared"),
        ("{{ template \"d\" }}", "template is not known"),
        ("{{ range .Values.l }}{{ break }}{{ end }}", "break is not known"),
        ("{{ if true }}", "no end"),
        ("{{ end }}", "without a beginning"),
        ("{{ (1 }}", "parenthesis"),
        ("{{ 1 ) }}", "parenthesis"),
        ("{{ 'a' }}", "not known here"),
        ("{{ \"\\x41\" }}", "escape"),
        ("{{ 1.5 }}", "fraction"),
        ("{{ .Values.t 1 }}", "no function"),
        ("{{ include \"none\" . }}", "no template is called"),
        ("{{ .Files.Get \"none\" }}", "no file none"),
        ("{{ .Files.Glob \"**\" }}", "patterns"),
        ("{{ required \"give t2\" .Values.t2 }}", "give t2"),
        ("{{ merge (dict \"a\" \"\") (dict \"a\" \"b\") }}", "empty entry"),
        ("{{ define \"d\" }}{{ include \"d\" . }}{{ end }}{{ include \"d\" . }}", "without end"),
        ("{{ define \"d\" }}{{ end }}{{ define \"d\" }}{{ end }}", "defined twice"),
        ("{{ nil | default 1 }}", "nil is no command"),
        ("{{ .a", "not closed"),
    ] {
        let error = text(template).expect_err(template);
        assert!(error.contains(said), "{template}: {error}");
    }
}

#[test]
fn rendered_files_hold_objects_that_everybody_reads_alike() {
    let render = |template: &str| chart(template, "").render(&json!({}), &release()).map_err(|error| error.to_string());
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    assert_eq!(render(&format!("---\n{object}---\n# nothing\n")).unwrap().len(), 1);
    assert!(render(&format!("{object}---\n{object}")).unwrap_err().contains("rendered twice"));
    assert!(render(&format!("{object}data: {{a: on}}\n")).unwrap_err().contains("quote it"));
    assert!(render("kind: ConfigMap\n").unwrap_err().contains("lacks apiVersion"));
    assert!(render("a: [\n").is_err());
}

/// Paths of the table in `docs/install.md` with the default that it states: `.name` continues the block of the row's first value.
fn documented_values() -> BTreeMap<String, String> {
    let page = include_str!("../../../docs/install.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| value | default |")).skip(2);
    let mut values = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (names, default) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        let block = names[0].rsplit_once('.').map_or("", |(block, _)| block);
        let paths = names.iter().map(|name| match name.strip_prefix('.') {
            Some(rest) => format!("{block}.{rest}"),
            None => (*name).to_owned(),
        });
        let default = if names.len() == 1 { default.trim_matches('`') } else { "" };
        values.extend(paths.map(|path| (path, default.to_owned())));
    }
    values
}

#[test]
fn install_page_lists_every_value_with_its_default() {
    let defaults = Chart::embedded().unwrap().defaults().unwrap();
    let documented = documented_values();
    assert!(documented.len() > 30, "{documented:?}");
    let is_within = |path: &str, block: &str| path == block || path.starts_with(&format!("{block}."));
    for path in leaves(&defaults).keys() {
        assert!(documented.keys().any(|block| is_within(path, block)), "docs/install.md does not list {path}");
    }
    for (path, default) in documented {
        let found = defaults.pointer(&format!("/{}", path.replace('.', "/")));
        let found = found.unwrap_or_else(|| panic!("docs/install.md lists {path}, which does not exist"));
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        if matches!(found, Value::Number(_) | Value::Bool(_)) && !default.is_empty() {
            assert_eq!(text, default, "docs/install.md: {path}");
        }
    }
}

/// What `docs/install.md`, `docs/instrumentation.md` and `SECURITY.md` say that the pods of nodes may do.
#[test]
fn agents_of_nodes_have_the_documented_capabilities_and_no_others() {
    let agent = |values: Value| {
        let objects = Chart::embedded().unwrap().render(&values, &release()).unwrap();
        let found = objects.into_iter().find(|object| object["kind"] == "DaemonSet").unwrap();
        assert_eq!(found["metadata"]["name"], "odiglet");
        found["spec"]["template"]["spec"].clone()
    };
    let capabilities = |pod: &Value| -> BTreeMap<String, Value> {
        let containers = pod["containers"].as_array().unwrap().iter();
        let pair = |one: &Value| {
            let security = &one["securityContext"];
            assert_eq!((&security["capabilities"]["drop"], &security["runAsUser"]), (&json!(["ALL"]), &json!(0)));
            assert_eq!((&security["privileged"], &security["readOnlyRootFilesystem"]), (&Value::Null, &json!(true)));
            (one["name"].as_str().unwrap().to_owned(), security["capabilities"]["add"].clone())
        };
        containers.map(pair).collect()
    };
    let reading = json!(["SYS_PTRACE", "DAC_READ_SEARCH"]);
    let usual = agent(json!({}));
    assert_eq!(usual["hostPID"], true);
    let found = capabilities(&usual);
    assert_eq!((found.len(), &found["odiglet"]), (2, &reading));
    let mut of_go: Vec<&str> = found["golang"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    of_go.sort_unstable();
    assert_eq!(of_go, ["BPF", "DAC_READ_SEARCH", "IPC_LOCK", "PERFMON", "SYS_ADMIN", "SYS_PTRACE"]);
    let go =
        |pod: &Value| pod["containers"].as_array().unwrap().iter().find(|one| one["name"] == "golang").unwrap().clone();
    let asks = |pod: &Value| go(pod)["args"].as_array().unwrap().iter().any(|one| one == "-context-propagation");
    let is_admin = |pod: &Value| go(pod)["securityContext"]["capabilities"].to_string().contains("SYS_ADMIN");
    // The program gives it back, unless it is asked for what takes it.
    assert!(is_admin(&usual) && !asks(&usual) && !usual["volumes"].to_string().contains("/sys/fs/bpf"));
    let never = agent(json!({"agent": {"golang": {"sysAdmin": false}}}));
    assert!(!is_admin(&never) && !asks(&never) && never["volumes"].to_string().contains("/sys/fs/bpf"));
    let propagating = agent(json!({"agent": {"golang": {"sysAdmin": false, "contextPropagation": true}}}));
    assert!(is_admin(&propagating) && asks(&propagating));
    let without_go = agent(json!({"agent": {"golang": {"enabled": false}}}));
    assert_eq!(capabilities(&without_go), [("odiglet".to_owned(), reading)].into());
    let without_detection = agent(json!({"agent": {"detection": false}}));
    assert_eq!(without_detection.get("hostPID"), None);
    assert_eq!(capabilities(&without_detection), [("odiglet".to_owned(), Value::Null)].into());
}
