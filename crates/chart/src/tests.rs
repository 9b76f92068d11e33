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
