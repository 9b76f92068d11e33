//! The embedded distributions against the tables of `spec/sources-and-instrumentation.md` 5.4, 5.6, and slips in a file.

use super::*;

fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn variable(distribution: &str, name: &str) -> &'static Variable {
    find(distribution).unwrap().environment.iter().find(|one| one.name == name).unwrap()
}

#[test]
fn every_embedded_file_is_a_distribution() {
    assert_eq!(all().len(), FILES.len());
    assert!(FILES.iter().all(|(name, _)| find(name).is_some()));
    for (language, name) in [
        ("java", "java-community"),
        ("javascript", "nodejs-community"),
        ("python", "python-community"),
        ("dotnet", "dotnet-community"),
        ("php", "php-community"),
        ("ruby", "ruby-community"),
        ("go", "golang-community"),
    ] {
        assert_eq!(default_for(language).map(|one| one.name.as_str()), Some(name));
    }
    for language in ["rust", "cplusplus", "mysql", "nginx", "redis", "postgres", "unknown"] {
        assert_eq!(default_for(language), None, "{language}");
    }
    for one in all().values() {
        assert!(one.rules.contains_key(&RuleKind::TraceConfig), "{} cannot switch traces off", one.name);
    }
}

#[test]
fn versions_of_the_table() {
    for (name, allowed, refused) in [
        ("java-community", "8.0.292", "7.0"),
        ("nodejs-community", "18.20.4", "16.20.2"),
        ("nodejs-community-14", "14.0.0", "12.22.1"),
        ("python-community", "3.9.0", "3.8.20"),
        ("python-community3.8", "3.8.20", "3.6.15"),
        ("dotnet-community", "6.0", "5.0.17"),
        ("php-community", "8.4.1", "8.5.0"),
        ("ruby-community", "3.1.0", "3.0.7"),
        ("golang-community", "1.19", "1.18.10"),
    ] {
        let constraint = find(name).and_then(|one| one.versions.as_ref()).unwrap();
        assert!(constraint.allows(&Version::parse(allowed).unwrap()), "{name} {allowed}");
        assert!(!constraint.allows(&Version::parse(refused).unwrap()), "{name} {refused}");
    }
}

#[test]
fn values_are_joined_with_what_is_there() {
    let none = parameters(&[]);
    let java = variable("java-community", "JAVA_TOOL_OPTIONS");
    let agent = "-javaagent:/var/odigos/java/javaagent.jar";
    assert_eq!(java.joined("", &none).as_deref(), Some(agent), "no leading space");
    let both = java.joined("-Dx=1", &none).unwrap();
    assert_eq!(both, format!("-Dx=1 {agent}"));
    assert_eq!(java.joined(&both, &none), None, "doing it again changes nothing");
    let python = variable("python-community", "PYTHONPATH").joined("/app", &none).unwrap();
    assert_eq!(python, "/app:/var/odigos/python:/var/odigos/python/opentelemetry/instrumentation/auto_instrumentation");
    let php = parameters(&[("RUNTIME_VERSION_MAJOR_MINOR", "8.3")]);
    let directory = variable("php-community", "PHP_INI_SCAN_DIR");
    assert_eq!(directory.joined("", &php).as_deref(), Some(":/var/odigos/php/8.3"));
    assert_eq!(directory.joined("/etc/my", &php).as_deref(), Some("/etc/my:/var/odigos/php/8.3"));
    let ruby = parameters(&[("RUNTIME_VERSION_MAJOR_MINOR", "3.3")]);
    let options = variable("ruby-community", "RUBYOPT");
    assert_eq!(options.joined("-W0", &ruby).as_deref(), Some("-W0 -r/var/odigos/ruby/3.3/index.rb"));
    let musl = parameters(&[("LIBC_TYPE", "musl")]);
    assert_eq!(
        variable("dotnet-community", "CORECLR_PROFILER_PATH").joined("", &musl).as_deref(),
        Some("/var/odigos/dotnet/linux-musl/OpenTelemetry.AutoInstrumentation.Native.so")
    );
    let profiler = variable("dotnet-community", "CORECLR_PROFILER");
    assert_eq!(profiler.joined("", &musl).as_deref(), Some("{918728DD-259F-4A6A-AC2B-B85E1B658318}"));
    assert_eq!(profiler.joined("{other}", &musl), None);
}

#[test]
fn slips_in_a_file_are_refused() {
    let text = |name: &str| FILES.iter().find(|(stem, _)| *stem == name).unwrap().1;
    for (name, from, to, expected) in [
        ("java-community", "isDefault:", "default:", "unknown field"),
        ("java-community", "language: java", "language: jawa", "is no language"),
        ("java-community", "\">=8\"", "\"8\"", "spec.versions"),
        ("java-community", "existing: keep", "existing: keeps", "unknown variant"),
        ("java-community", "traceVerbosity:", "traceVerbosityy:", "unknown variant"),
        ("java-community", "traceConfig: {}", "traceConfig: {javaMethods: X}", "belongs to another block"),
        ("java-community", "{javaMethods: OTEL_INSTRUMENTATION_METHODS_INCLUDE}", "{}", "javaMethods is missing"),
        ("java-community", "info: {}", "notice: {}", "notice is no level"),
        ("golang-community", "otelDistros: {}", "codeAttributes: {}", "takes no variables"),
        ("java-community", "{{agents}}", "{{agent}}", "not among spec.parameters"),
        ("java-community", "separator: \" \", ", "", "separator must be there"),
        ("java-community", "directories: [java]", "directories: []", "spec.directories"),
        ("dotnet-community", "parameters: [LIBC_TYPE]", "parameters: []", "not among spec.parameters"),
        ("ruby-community", "name: OTEL_PROPAGATORS", "name: RUBYOPT", "twice"),
        ("golang-community", "libc: [glibc, musl, none]", "libc: []", "at least one"),
    ] {
        let bad = text(name).replacen(from, to, 1);
        assert_ne!(bad, text(name), "{from}");
        let error = File::parse(&bad).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn slips_between_files_are_refused() {
    let files = |from: &str, to: &str| -> Vec<File> {
        FILES.iter().map(|(_, text)| File::parse(&text.replacen(from, to, 1)).unwrap()).collect()
    };
    assert_eq!(schema::check_together(&files("", "")), Ok(()));
    for (from, to, expected) in [
        ("fallback: nodejs-community-14", "fallback: nodejs-community-12", "does not exist"),
        ("fallback: nodejs-community-14", "fallback: python-community3.8", "another language"),
        ("versions: \">=14\"", "fallback: nodejs-community", "in a circle"),
        ("versions: \">=14\"", "isDefault: true", "both the default for javascript"),
    ] {
        let error = schema::check_together(&files(from, to)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
