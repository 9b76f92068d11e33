//! Running a template: scopes of variables, the dot, control structures, calls.

use super::read::{Base, Node, Operand, Pipeline};
use super::value::Value;
use super::{Body, Library, failed, functions};
use crate::Error;
use std::rc::Rc;

/// How deep templates may include each other.
const DEPTH: usize = 100;

/// One template at work.
pub(crate) struct Scope<'a> {
    library: &'a Library,
    root: Value,
    file: String,
    variables: Vec<(String, Value)>,
    out: String,
    depth: usize,
}

impl<'a> Scope<'a> {
    /// A scope whose dot and `$` are `root`.
    pub(crate) fn new(library: &'a Library, root: Value) -> Self {
        Self { library, root, file: String::new(), variables: Vec::new(), out: String::new(), depth: 0 }
    }

    /// The text of `body`.
    pub(crate) fn render(mut self, body: &Body) -> Result<String, Error> {
        self.file.clone_from(&body.file);
        let dot = self.root.clone();
        self.nodes(&body.nodes, &dot)?;
        Ok(self.out)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Error> {
        let mark = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(mark);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), Error> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let text = self.pipeline(pipeline, dot)?.print().map_err(|message| self.failed(pipeline, message))?;
                self.out.push_str(&text);
            }
            Node::Assign { name, declares, pipeline } => {
                let value = self.pipeline(pipeline, dot)?;
                if *declares {
                    self.variables.push((name.clone(), value));
                } else {
                    let found = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                    match found {
                        Some((_, place)) => *place = value,
                        None => return Err(self.failed(pipeline, format!("${name} is not declared"))),
                    }
                }
            }
            Node::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.pipeline(condition, dot)?.is_true() {
                        return self.nodes(body, dot);
                    }
                }
                self.nodes(otherwise, dot)?;
            }
            Node::With(pipeline, body, otherwise) => {
                let value = self.pipeline(pipeline, dot)?;
                if value.is_true() {
                    self.nodes(body, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
            }
            Node::Range { key, value, pipeline, body, otherwise } => {
                let items: Vec<(Value, Value)> = match self.pipeline(pipeline, dot)? {
                    Value::Nil => Vec::new(),
                    Value::List(items) => {
                        items.iter().zip(0..).map(|(item, at)| (Value::Int(at), item.clone())).collect()
                    }
                    Value::Map(map) => {
                        let entries = map.entries.borrow();
                        entries.iter().map(|(key, value)| (Value::text(key), value.clone())).collect()
                    }
                    other => return Err(self.failed(pipeline, format!("range over a {}", other.kind()))),
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (at, item) in items {
                    let mark = self.variables.len();
                    for (name, one) in [(key, at), (value, item.clone())] {
                        if let Some(name) = name {
                            self.variables.push((name.clone(), one));
                        }
                    }
                    self.nodes(body, &item)?;
                    self.variables.truncate(mark);
                }
            }
        }
        Ok(())
    }

    fn failed(&self, pipeline: &Pipeline, message: impl Into<String>) -> Error {
        failed(&self.file, pipeline.line, message)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(pipeline, command, last, dot)?);
        }
        last.ok_or_else(|| self.failed(pipeline, "nothing to evaluate"))
    }

    fn command(
        &mut self,
        pipeline: &Pipeline,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Error> {
        let Some((first, rest)) = command.split_first() else {
            return Err(self.failed(pipeline, "nothing to evaluate"));
        };
        let method = match first {
            Operand::Function(name) => {
                return match name.as_str() {
                    "and" | "or" => self.junction(pipeline, name == "or", rest, piped, dot),
                    "include" => {
                        let arguments = self.arguments(pipeline, rest, piped, dot)?;
                        self.include(pipeline, &arguments)
                    }
                    _ => {
                        let arguments = self.arguments(pipeline, rest, piped, dot)?;
                        functions::call(name, &arguments).map_err(|message| self.failed(pipeline, message))
                    }
                };
            }
            Operand::Nil => return Err(self.failed(pipeline, "nil is no command")),
            Operand::Path(base, path) => path.split_last().map(|(name, before)| (base, before, name)),
            _ => None,
        };
        let no_function = "something that is no function is given arguments";
        if let Some((base, before, name)) = method {
            let value = self.path(pipeline, base, before, dot)?;
            let answer = match &value {
                Value::Files(files) => {
                    let arguments = self.arguments(pipeline, rest, piped, dot)?;
                    functions::file(files, name, &arguments)
                }
                _ if rest.is_empty() && piped.is_none() => value.field(name),
                _ => Err(no_function.into()),
            };
            return answer.map_err(|message| self.failed(pipeline, message));
        }
        if !rest.is_empty() || piped.is_some() {
            return Err(self.failed(pipeline, no_function));
        }
        self.operand(pipeline, first, dot)
    }

    /// `and` and `or` stop at the first operand that decides, and are that operand.
    fn junction(
        &mut self,
        pipeline: &Pipeline,
        stops_at: bool,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Error> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(pipeline, operand, dot)?;
            if value.is_true() == stops_at {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| self.failed(pipeline, "and, or need operands"))
    }

    fn arguments(
        &mut self,
        pipeline: &Pipeline,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Vec<Value>, Error> {
        let mut arguments = Vec::new();
        for operand in operands {
            arguments.push(self.operand(pipeline, operand, dot)?);
        }
        arguments.extend(piped);
        Ok(arguments)
    }

    fn operand(&mut self, pipeline: &Pipeline, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        match operand {
            Operand::Text(text) => Ok(Value::text(text)),
            Operand::Int(int) => Ok(Value::Int(*int)),
            Operand::Bool(bool) => Ok(Value::Bool(*bool)),
            Operand::Nil => Ok(Value::Nil),
            Operand::Path(base, path) => self.path(pipeline, base, path, dot),
            // A function among arguments is called without any.
            Operand::Function(name) => functions::call(name, &[]).map_err(|message| self.failed(pipeline, message)),
        }
    }

    fn path(&mut self, pipeline: &Pipeline, base: &Base, path: &[String], dot: &Value) -> Result<Value, Error> {
        let mut value = match base {
            Base::Dot => dot.clone(),
            Base::Variable(name) if name.is_empty() => self.root.clone(),
            Base::Variable(name) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => return Err(self.failed(pipeline, format!("${name} is not declared"))),
            },
            Base::Parenthesis(inner) => self.pipeline(inner, dot)?,
        };
        for name in path {
            value = value.field(name).map_err(|message| self.failed(pipeline, message))?;
        }
        Ok(value)
    }

    /// `include name dot`: the text of another template, whose `$` is that dot.
    fn include(&mut self, pipeline: &Pipeline, arguments: &[Value]) -> Result<Value, Error> {
        let [Value::Text(name), dot] = arguments else {
            return Err(self.failed(pipeline, "include needs a name and a value"));
        };
        let library = self.library;
        let Some(body) = library.named.get(name.as_ref()) else {
            return Err(self.failed(pipeline, format!("no template is called {name:?}")));
        };
        if self.depth >= DEPTH {
            return Err(self.failed(pipeline, "templates include each other without end"));
        }
        let mut inner = Scope::new(library, dot.clone());
        inner.depth = self.depth + 1;
        Ok(Value::Text(Rc::from(inner.render(body)?)))
    }
}
