//! Every row of the language table, with what real images show (`spec/sources-and-instrumentation.md` 4.4, 4.5, 4.10; scenarios
//! 23, 28, 29 of section 7).

mod support;

use odigos_detect::{Confidence, Language, Libc, Obstacle};
use support::{Recorded, TestElf};

const GLIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

struct Row {
    what: &'static str,
    process: Recorded,
    language: Language,
    version: Option<&'static str>,
    libc: Option<Libc>,
}

fn row(what: &'static str, process: Recorded, language: Language, version: &'static str, libc: Option<Libc>) -> Row {
    Row { what, process, language, version: Some(version).filter(|text| !text.is_empty()), libc }
}

fn java() -> Vec<Row> {
    let home = "/opt/java/openjdk";
    let libjvm = "/opt/java/openjdk/lib/server/libjvm.so";
    let (glibc, musl) = (Some(Libc::Glibc), Some(Libc::Musl));
    vec![
        row(
            "eclipse-temurin:17, release file and variable agree",
            Recorded::new("/opt/java/openjdk/bin/java", "java -jar /app.jar")
                .env(&[("JAVA_VERSION", "jdk-17.0.12+7"), ("JAVA_HOME", home)])
                .maps(&[libjvm, GLIBC])
                .file("/opt/java/openjdk/release", "JAVA_RUNTIME_VERSION=\"17.0.12+7\"\nJAVA_VERSION=\"17.0.12\"\n"),
            Language::Java,
            "17.0.12+7",
            glibc,
        ),
        row(
            "variable only, build number kept",
            Recorded::new("/opt/java/openjdk/bin/java", "java -jar /app.jar").env(&[("JAVA_VERSION", "11.0.27+6")]),
            Language::Java,
            "11.0.27+6",
            None,
        ),
        row(
            "a launcher of another name, known by libjvm, on Alpine",
            Recorded::new("/app/bin/shop", "/app/bin/shop")
                .maps(&["/app/runtime/lib/server/libjvm.so", "/usr/lib/libstdc++.so.6", MUSL])
                .file("/app/runtime/release", "JAVA_RUNTIME_VERSION=\"21.0.7+6-LTS\"\n"),
            Language::Java,
            "21.0.7+6",
            musl,
        ),
        row(
            "the variable is left over from another base image",
            Recorded::new("/usr/lib/jvm/java-17/bin/java", "java").env(&[("JAVA_VERSION", "jdk-11.0.2+9")]).file(
                "/usr/lib/jvm/java-17/release",
                "JAVA_VERSION=\"17.0.15\"\nJAVA_RUNTIME_VERSION=\"17.0.15+6-Debian-1deb12u1\"\n",
            ),
            Language::Java,
            "17.0.15+6",
            None,
        ),
        row(
            "Java 8 with its own layout",
            Recorded::new("/usr/lib/jvm/java-8/jre/bin/java", "java")
                .maps(&["/usr/lib/jvm/java-8/jre/lib/amd64/server/libjvm.so", GLIBC])
                .file("/usr/lib/jvm/java-8/release", "JAVA_VERSION=\"1.8.0_412\"\n"),
            Language::Java,
            "8.0.412",
            glibc,
        ),
        row(
            "only the home tells",
            Recorded::new("/opt/jdk-17.0.2/bin/java", "java").env(&[("JAVA_HOME", "/opt/jdk-17.0.2")]),
            Language::Java,
            "17.0.2",
            None,
        ),
        row(
            "azul, nothing tells the version",
            Recorded::new("/usr/lib/jvm/zulu21/bin/java", "java").maps(&[GLIBC]),
            Language::Java,
            "",
            glibc,
        ),
    ]
}

fn interpreters() -> Vec<Row> {
    let (glibc, musl) = (Some(Libc::Glibc), Some(Libc::Musl));
    vec![
        row(
            "python:3.11-slim, gunicorn",
            Recorded::new("/usr/local/bin/python3.11", "/usr/local/bin/python /usr/local/bin/gunicorn app:app")
                .env(&[("PYTHON_VERSION", "3.11.9"), ("LANG", "C.UTF-8")])
                .maps(&["/usr/local/lib/libpython3.11.so.1.0", GLIBC]),
            Language::Python,
            "3.11.9",
            glibc,
        ),
        row(
            "python:3.10-alpine",
            Recorded::new("/usr/local/bin/python3.10", "python app.py")
                .env(&[("PYTHON_VERSION", "3.10.15")])
                .elf(&TestElf::musl()),
            Language::Python,
            "3.10.15",
            musl,
        ),
        row(
            "debian's python3.9 without a variable",
            Recorded::new("/usr/bin/python3.9", "python3 app.py"),
            Language::Python,
            "3.9",
            None,
        ),
        row(
            "uwsgi embeds libpython",
            Recorded::new("/usr/local/bin/uwsgi", "uwsgi --http :8000")
                .elf(&TestElf::glibc(&["libpython3.12.so.1.0", "libc.so.6"])),
            Language::Python,
            "3.12",
            glibc,
        ),
        row("python 2", Recorded::new("/usr/bin/python2.7", "python app.py"), Language::Python, "2.7", None),
        row(
            "the variable belongs to another python",
            Recorded::new("/opt/venv/bin/python3.8", "python").env(&[("PYTHON_VERSION", "3.12.1")]),
            Language::Python,
            "3.8",
            None,
        ),
        row(
            "node:20",
            Recorded::new("/usr/local/bin/node", "node server.js").env(&[("NODE_VERSION", "20.17.0")]).maps(&[GLIBC]),
            Language::Javascript,
            "20.17.0",
            glibc,
        ),
        row(
            "node:8",
            Recorded::new("/usr/local/bin/node", "node x").env(&[("NODE_VERSION", "8.17.0")]),
            Language::Javascript,
            "8.17.0",
            None,
        ),
        row(
            "a distribution's node with its headers",
            Recorded::new("/usr/bin/node", "node /app/x.js").maps(&[MUSL]).file(
                "/usr/include/node/node_version.h",
                "#define NODE_MAJOR_VERSION 18\n#define NODE_MINOR_VERSION 19\n#define NODE_PATCH_VERSION 1\n",
            ),
            Language::Javascript,
            "18.19.1",
            musl,
        ),
        row(
            "node whose version only stands inside it",
            Recorded::new("/app/node", "./node x.js").elf(
                &TestElf::glibc(&[])
                    .with(".rodata", b"\0https://nodejs.org/download/release/v16.20.2/node-v16.20.2-headers.tar.gz\0"),
            ),
            Language::Javascript,
            "16.20.2",
            glibc,
        ),
        row("node that tells nothing", Recorded::new("/usr/bin/node", "node x.js"), Language::Javascript, "", None),
        row(
            "node linked against libnode",
            Recorded::new("/opt/electronish", "electronish").maps(&["/usr/lib/libnode.so.108", GLIBC]),
            Language::Javascript,
            "",
            glibc,
        ),
        row(
            "mcr dotnet aspnet:8.0-alpine",
            Recorded::new("/usr/share/dotnet/dotnet", "dotnet Shop.dll")
                .env(&[("DOTNET_VERSION", "8.0.8")])
                .maps(&["/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.8/libcoreclr.so", MUSL]),
            Language::Dotnet,
            "8.0.8",
            musl,
        ),
        row(
            "a self-contained .NET program",
            Recorded::new("/app/Shop", "/app/Shop").maps(&[
                "/app/libcoreclr.so",
                "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
                GLIBC,
            ]),
            Language::Dotnet,
            "",
            glibc,
        ),
    ]
}

fn web() -> Vec<Row> {
    let (glibc, musl) = (Some(Libc::Glibc), Some(Libc::Musl));
    vec![
        row(
            "php:8.3-fpm",
            Recorded::new("/usr/local/sbin/php-fpm", "php-fpm: master process")
                .env(&[("PHP_VERSION", "8.3.11")])
                .maps(&[GLIBC]),
            Language::Php,
            "8.3.11",
            glibc,
        ),
        row(
            "alpine's php-fpm82",
            Recorded::new("/usr/sbin/php-fpm82", "php-fpm82").maps(&[MUSL]),
            Language::Php,
            "8.2",
            musl,
        ),
        row(
            "debian's php-fpm8.2, exact version inside",
            Recorded::new("/usr/sbin/php-fpm8.2", "php-fpm: pool www")
                .elf(&TestElf::glibc(&[]).with(".rodata", b"..X-Powered-By: PHP/8.2.20\0..")),
            Language::Php,
            "8.2.20",
            glibc,
        ),
        row(
            "httpd with mod_php",
            Recorded::new("/usr/sbin/apache2", "apache2 -DFOREGROUND").maps(&[
                "/usr/lib/apache2/modules/libphp8.2.so",
                "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
                GLIBC,
            ]),
            Language::Php,
            "8.2",
            glibc,
        ),
        row(
            "httpd whose extensions tell",
            Recorded::new("/usr/sbin/httpd", "httpd").maps(&["/usr/lib/php/8.1/modules/opcache.so"]),
            Language::Php,
            "8.1",
            None,
        ),
        row(
            "ruby:3.3, puma",
            Recorded::new("/usr/local/bin/ruby", "puma 6.4.2 (tcp://0.0.0.0:3000)")
                .env(&[("RUBY_VERSION", "3.3.5")])
                .maps(&["/usr/local/lib/libruby.so.3.3.5", "/usr/local/lib/ruby/3.3.0/x86_64-linux/socket.so"]),
            Language::Ruby,
            "3.3.5",
            None,
        ),
        row(
            "debian's ruby3.1",
            Recorded::new("/usr/bin/ruby3.1", "ruby app.rb").maps(&[
                "/usr/lib/ruby/3.1.0/a.so",
                "/usr/lib/libruby-3.1.so.3.1.2",
                GLIBC,
            ]),
            Language::Ruby,
            "3.1.2",
            glibc,
        ),
        row(
            "only the interface is known",
            Recorded::new("/opt/server", "server").maps(&["/usr/lib/ruby/3.1.0/a.so"]),
            Language::Ruby,
            "3.1.0",
            None,
        ),
        row(
            "nginx",
            Recorded::new("/usr/sbin/nginx", "nginx: master process").maps(&[GLIBC]),
            Language::Nginx,
            "",
            glibc,
        ),
        row("mysql", Recorded::new("/usr/sbin/mysqld", "mysqld"), Language::Mysql, "", None),
        row(
            "redis",
            Recorded::new("/usr/local/bin/redis-server", "redis-server *:6379").maps(&[MUSL]),
            Language::Redis,
            "",
            musl,
        ),
        row(
            "postgres, although it links C++",
            Recorded::new("/usr/lib/postgresql/16/bin/postgres", "postgres").maps(&["/usr/lib/libstdc++.so.6", GLIBC]),
            Language::Postgres,
            "",
            glibc,
        ),
    ]
}

fn compiled() -> Vec<Row> {
    let glibc = Some(Libc::Glibc);
    let commit = "59807616e1fa2540724bfbac14d7976d7e4a3860";
    let mut stripped = b"/rustc/nothex/library/".to_vec();
    stripped.extend(format!("..../rustc/{commit}/library/core").bytes());
    vec![
        row("go, static", Recorded::new("/app", "/app").elf(&TestElf::go("go1.22.3")), Language::Go, "1.22.3", None),
        row(
            "go that is called node",
            Recorded::new("/bin/node", "/bin/node").elf(&TestElf::go("go1.21.0")),
            Language::Go,
            "1.21.0",
            None,
        ),
        row(
            "thrust stands before ruby",
            Recorded::new("/usr/local/bin/thrust", "thrust bin/rails server").elf(&TestElf::go("go1.22.0")),
            Language::Unknown,
            "",
            None,
        ),
        row("dynatrace's helper", Recorded::new("/opt/dynatrace/oneagentdynamizer", "x"), Language::Go, "", None),
        row(
            "rust, the compiler's line survives stripping",
            Recorded::new("/app/shop", "/app/shop").elf(
                &TestElf::glibc(&["libc.so.6"])
                    .with(".comment", b"GCC: (Debian) 12\0rustc version 1.80.1 (3f5fd8dd4 2024-08-06)\0"),
            ),
            Language::Rust,
            "1.80.1",
            glibc,
        ),
        row(
            "rust, by its symbols; the commit is all that is known",
            Recorded::new("/app/shop", "/app/shop")
                .elf(&TestElf::glibc(&[]).with(".strtab", b"\0main\0__rust_alloc\0").with(".rodata", &stripped)),
            Language::Rust,
            commit,
            glibc,
        ),
        row(
            "rust with a C++ library",
            Recorded::new("/app/shop", "/app/shop")
                .maps(&["/usr/lib/libstdc++.so.6"])
                .elf(&TestElf::glibc(&[]).with(".dynstr", b"\0__rust_alloc\0")),
            Language::Rust,
            "",
            glibc,
        ),
        row(
            "c++",
            Recorded::new("/app/server", "/app/server").maps(&["/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", GLIBC]),
            Language::Cplusplus,
            "",
            glibc,
        ),
        row(
            "c++ of clang",
            Recorded::new("/app/server", "/app/server").maps(&["/usr/lib/libc++.so.1"]),
            Language::Cplusplus,
            "",
            None,
        ),
        row(
            "c, nothing is known",
            Recorded::new("/usr/sbin/haproxy", "haproxy").elf(&TestElf::glibc(&["libc.so.6"])),
            Language::Unknown,
            "",
            glibc,
        ),
        row("no view at all", Recorded::new("", ""), Language::Unknown, "", None),
    ]
}

#[test]
fn every_language_of_the_table() {
    let rows: Vec<Row> = [java(), interpreters(), web(), compiled()].into_iter().flatten().collect();
    for row in &rows {
        let found = row.process.detect();
        let seen = (found.language, found.version.as_deref(), found.libc);
        assert_eq!(seen, (row.language, row.version, row.libc), "{}: {:#?}", row.what, found.evidence);
        assert_eq!(found.language == Language::Unknown, found.evidence.is_empty(), "{}", row.what);
    }
    for language in Language::ALL {
        assert!(rows.iter().any(|row| row.language == language), "no row for {language}");
        assert_eq!(Language::parse(language.as_str()), language);
    }
    assert_eq!(Language::parse("cobol"), Language::Unknown);
}

#[test]
fn contradicting_libraries_make_the_language_unknown_with_both_as_evidence() {
    let found = Recorded::new("/opt/office", "office")
        .maps(&["/usr/lib/jvm/lib/server/libjvm.so"])
        .elf(&TestElf::glibc(&["libpython3.11.so.1.0"]))
        .detect();
    assert_eq!(found.language, Language::Unknown);
    let rules: Vec<&str> = found.evidence.iter().map(|one| one.rule).collect();
    assert_eq!(rules, ["mapped", "library"]);
}

#[test]
fn a_name_that_the_process_chose_is_weak_evidence() {
    let hidden = Recorded::new("", "java -jar app.jar").detect();
    assert_eq!((hidden.language, hidden.confidence), (Language::Java, Confidence::Low));
    let mut silent = Recorded::new("", "");
    silent.process.name = "redis-server".into();
    assert_eq!((silent.detect().language, silent.detect().confidence), (Language::Redis, Confidence::Low));
    let named = Recorded::new("/usr/bin/java", "anything").detect();
    assert_eq!((named.language, named.confidence), (Language::Java, Confidence::Medium));
}

#[test]
fn secure_execution_and_what_stands_in_the_way() {
    let mut capable = Recorded::new("/usr/local/bin/python3.10", "python app.py");
    capable.process.secure_execution = Some(true);
    assert_eq!(capable.detect().secure_execution, Some(true));
    capable.process.secure_execution = None;
    assert_eq!(capable.detect().secure_execution, None);

    for (command_line, expected) in [
        ("python -I app.py", true),
        ("python -uE app.py", true),
        ("python -u app.py -E", false),
        ("python -c -E", false),
        ("python -X dev app.py", false),
    ] {
        let found = Recorded::new("/usr/bin/python3.11", command_line).detect();
        assert_eq!(found.obstacles == [Obstacle::PythonIgnoresEnvironment], expected, "{command_line}");
    }
    for (modules, expected) in
        [("java.base java.logging", true), ("java.base java.instrument", false), ("java.se", false)]
    {
        let found = Recorded::new("/jre/bin/java", "java")
            .file("/jre/release", &format!("JAVA_VERSION=\"17.0.1\"\nMODULES=\"{modules}\"\n"))
            .detect();
        assert_eq!(found.obstacles == [Obstacle::JavaWithoutInstrument], expected, "{modules}");
    }
    let profiled =
        |value| Recorded::new("/usr/bin/dotnet", "dotnet x.dll").env(&[("CORECLR_PROFILER", value)]).detect();
    assert_eq!(profiled("{36032161-FFC0-4B61-B559-F6C5D41BAE5A}").obstacles, [Obstacle::OtherProfiler]);
    assert!(profiled("{918728DD-259F-4A6A-AC2B-B85E1B658318}").obstacles.is_empty());
}
