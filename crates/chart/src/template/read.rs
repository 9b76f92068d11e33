//! Template text into a tree: actions, trimming of white space, pipelines.

/// Where and what.
pub(super) type Problem = (usize, String);
/// Name, line and content of a `define`.
type Defined = (String, usize, Vec<Node>);

/// One piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{ pipeline }}`.
    Print(Pipeline),
    /// `{{ $name := pipeline }}`, or `=` when `declares` is false.
    Assign {
        name: String,
        declares: bool,
        pipeline: Pipeline,
    },
    /// Branches of `if` and `else if`, then `else`.
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range {
        key: Option<String>,
        value: Option<String>,
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands joined by `|`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) line: usize,
    /// Each command is its operands; the first may be a function.
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Function(String),
    Text(String),
    Int(i64),
    Bool(bool),
    Nil,
    Path(Base, Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    Dot,
    /// `$` is the empty name.
    Variable(String),
    Parenthesis(Box<Pipeline>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `.name`; `.` alone is empty.
    Field(String),
    /// `$name`; `$` alone is empty.
    Variable(String),
    Text(String),
    Int(i64),
    /// One of `( ) | = := ,`.
    Sign(&'static str),
    /// White space: what separates `.a .b` from `.a.b`.
    Space,
}

/// Reads a file into its own nodes and what it defines.
pub(super) fn file(text: &str) -> Result<(Vec<Node>, Vec<Defined>), Problem> {
    let mut reader = Reader { pieces: pieces(text)?.into_iter().peekable(), defined: Vec::new() };
    let (nodes, end) = reader.nodes()?;
    match end {
        None => Ok((nodes, reader.defined)),
        Some((line, word, _)) => Err((line, format!("{word} without a beginning"))),
    }
}

enum Piece {
    Text(String),
    Action(usize, Vec<Token>),
}

/// Cuts text and actions apart and trims white space at `{{-` and `-}}`.
fn pieces(text: &str) -> Result<Vec<Piece>, Problem> {
    let mut pieces = Vec::new();
    let (mut rest, mut line, mut trim) = (text, 1, false);
    while let Some(start) = rest.find("{{") {
        let (before, action) = (&rest[..start], &rest[start + 2..]);
        let at = line + before.matches('\n').count();
        let (action, left) = match action.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (inner, true),
            _ => (action, false),
        };
        let mut content = if trim { before.trim_start() } else { before };
        if left {
            content = content.trim_end();
        }
        pieces.push(Piece::Text(content.to_owned()));
        let (inner, after) = close(action).ok_or((at, "an action is not closed".to_owned()))?;
        let (inner, right) = match inner.strip_suffix('-') {
            Some(inner) if inner.ends_with(char::is_whitespace) => (inner, true),
            _ => (inner, false),
        };
        trim = right;
        let comment = inner.trim();
        if comment.starts_with("/*") {
            if !comment.ends_with("*/") {
                return Err((at, "a comment stands alone in its action".into()));
            }
        } else {
            pieces.push(Piece::Action(at, tokens(inner).map_err(|message| (at, message))?));
        }
        line = at + rest[start..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    pieces.push(Piece::Text((if trim { rest.trim_start() } else { rest }).to_owned()));
    Ok(pieces)
}

/// The content of an action and what follows it; `}}` inside of text or a comment does not count.
fn close(action: &str) -> Option<(&str, &str)> {
    if action.trim_start().starts_with("/*") {
        let end = action.find("*/")? + 2;
        let brace = end + action[end..].find("}}")?;
        return Some((&action[..brace], &action[brace + 2..]));
    }
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (position, c) in action.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if action[position..].starts_with("}}") => {
                return Some((&action[..position], &action[position + 2..]));
            }
            None => {}
        }
    }
    None
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = |from: usize| -> usize {
            let found = rest[from..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
            found.map_or(rest.len(), |end| from + end)
        };
        let (token, length) = match c {
            c if c.is_whitespace() => {
                let end = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
                (Token::Space, end)
            }
            '(' => (Token::Sign("("), 1),
            ')' => (Token::Sign(")"), 1),
            '|' => (Token::Sign("|"), 1),
            ',' => (Token::Sign(","), 1),
            '=' => (Token::Sign("="), 1),
            ':' if rest.starts_with(":=") => (Token::Sign(":="), 2),
            '.' => (Token::Field(rest[1..word(1)].to_owned()), word(1)),
            '$' => (Token::Variable(rest[1..word(1)].to_owned()), word(1)),
            '`' => {
                let end = rest[1..].find('`').ok_or("text is not closed")? + 2;
                (Token::Text(rest[1..end - 1].to_owned()), end)
            }
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                // Escapes that Go and JSON share are all there are here.
                let text = stream.next().and_then(Result::ok).ok_or("text with an escape that is not known here")?;
                (Token::Text(text), stream.byte_offset())
            }
            c if c.is_ascii_digit() || c == '-' => {
                let end = word(1);
                if rest[end..].starts_with('.') {
                    return Err("numbers with a fraction are not known here".into());
                }
                let number = rest[..end].parse().map_err(|_| format!("{} is no whole number", &rest[..end]))?;
                (Token::Int(number), end)
            }
            c if c.is_alphabetic() || c == '_' => (Token::Word(rest[..word(0)].to_owned()), word(0)),
            other => return Err(format!("{other:?} is not known here")),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    while tokens.first() == Some(&Token::Space) {
        tokens.remove(0);
    }
    while tokens.last() == Some(&Token::Space) {
        tokens.pop();
    }
    Ok(tokens)
}

struct Reader {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    defined: Vec<Defined>,
}

/// The action that ended a list of nodes: `end` or `else`, and what follows the word.
type End = Option<(usize, String, Vec<Token>)>;

impl Reader {
    fn nodes(&mut self) -> Result<(Vec<Node>, End), Problem> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (line, tokens) = match piece {
                Piece::Text(text) => {
                    if !text.is_empty() {
                        nodes.push(Node::Text(text));
                    }
                    continue;
                }
                Piece::Action(line, tokens) => (line, tokens),
            };
            let at = |message: String| (line, message);
            let rest = || without_space(tokens.get(1..).unwrap_or_default());
            match tokens.first() {
                Some(Token::Word(word)) => match word.as_str() {
                    "end" | "else" => return Ok((nodes, Some((line, word.clone(), rest())))),
                    "define" => {
                        let [Token::Text(name)] = rest().as_slice().to_owned().try_into().unwrap_or([Token::Space])
                        else {
                            return Err(at("define needs one name".into()));
                        };
                        let body = self.until_end(line)?;
                        self.defined.push((name, line, body));
                    }
                    "if" => nodes.push(self.conditional(line, &rest())?),
                    "with" => {
                        let pipeline = pipeline(line, &rest()).map_err(at)?;
                        let (body, otherwise) = self.with_else(line)?;
                        nodes.push(Node::With(pipeline, body, otherwise));
                    }
                    "range" => nodes.push(self.range(line, rest())?),
                    "template" | "block" | "break" | "continue" => {
                        return Err(at(format!("{word} is not known here")));
                    }
                    _ => nodes.push(Node::Print(pipeline(line, &tokens).map_err(at)?)),
                },
                Some(Token::Variable(name)) => nodes.push(assignment(line, name, &tokens).map_err(at)?),
                Some(_) => nodes.push(Node::Print(pipeline(line, &tokens).map_err(at)?)),
                None => return Err(at("an action is empty".into())),
            }
        }
        Ok((nodes, None))
    }

    fn until_end(&mut self, line: usize) -> Result<Vec<Node>, Problem> {
        let (body, otherwise) = self.with_else(line)?;
        if otherwise.is_empty() { Ok(body) } else { Err((line, "else has no place here".into())) }
    }

    /// A body and what stands behind `else`.
    fn with_else(&mut self, line: usize) -> Result<(Vec<Node>, Vec<Node>), Problem> {
        match self.nodes()? {
            (body, Some((_, word, rest))) if word == "end" && rest.is_empty() => Ok((body, Vec::new())),
            (body, Some((_, word, rest))) if word == "else" && rest.is_empty() => match self.nodes()? {
                (otherwise, Some((_, word, rest))) if word == "end" && rest.is_empty() => Ok((body, otherwise)),
                _ => Err((line, "what begins here has no end".into())),
            },
            (_, Some((line, word, _))) => Err((line, format!("{word} in a form that is not known here"))),
            (_, None) => Err((line, "what begins here has no end".into())),
        }
    }

    fn conditional(&mut self, line: usize, condition: &[Token]) -> Result<Node, Problem> {
        let mut condition = pipeline(line, condition).map_err(|message| (line, message))?;
        let mut branches = Vec::new();
        loop {
            let (body, end) = self.nodes()?;
            branches.push((condition, body));
            match end {
                Some((_, word, rest)) if word == "end" && rest.is_empty() => {
                    return Ok(Node::If(branches, Vec::new()));
                }
                Some((_, word, rest)) if word == "else" && rest.is_empty() => {
                    return Ok(Node::If(branches, self.until_end(line)?));
                }
                Some((at, word, rest)) if word == "else" && rest.first() == Some(&Token::Word("if".into())) => {
                    condition = pipeline(at, &without_space(&rest[1..])).map_err(|message| (at, message))?;
                }
                Some((at, word, _)) => return Err((at, format!("{word} in a form that is not known here"))),
                None => return Err((line, "if has no end".into())),
            }
        }
    }

    fn range(&mut self, line: usize, mut tokens: Vec<Token>) -> Result<Node, Problem> {
        let (mut key, mut value) = (None, None);
        if let Some(sign) = tokens.iter().position(|token| *token == Token::Sign(":=")) {
            let rest = tokens.split_off(sign + 1);
            let names: Vec<&Token> = tokens.iter().filter(|token| **token != Token::Space).collect();
            match names.as_slice() {
                [Token::Variable(one), Token::Sign(":=")] => value = Some(one.clone()),
                [Token::Variable(one), Token::Sign(","), Token::Variable(two), Token::Sign(":=")] => {
                    (key, value) = (Some(one.clone()), Some(two.clone()));
                }
                _ => return Err((line, "range in a form that is not known here".into())),
            }
            tokens = without_space(&rest);
        }
        let pipeline = pipeline(line, &tokens).map_err(|message| (line, message))?;
        let (body, otherwise) = self.with_else(line)?;
        Ok(Node::Range { key, value, pipeline, body, otherwise })
    }
}

fn without_space(tokens: &[Token]) -> Vec<Token> {
    let start = tokens.iter().position(|token| *token != Token::Space).unwrap_or(tokens.len());
    tokens[start..].to_vec()
}

/// `$x := …`, `$x = …`, or a pipeline that begins with a variable.
fn assignment(line: usize, name: &str, tokens: &[Token]) -> Result<Node, String> {
    let rest = without_space(&tokens[1..]);
    let declares = match rest.first() {
        Some(Token::Sign(":=")) => true,
        Some(Token::Sign("=")) => false,
        _ => return Ok(Node::Print(pipeline(line, tokens)?)),
    };
    if name.is_empty() {
        return Err("$ cannot be set".into());
    }
    Ok(Node::Assign { name: name.to_owned(), declares, pipeline: pipeline(line, &without_space(&rest[1..]))? })
}

fn pipeline(line: usize, tokens: &[Token]) -> Result<Pipeline, String> {
    let mut position = 0;
    let read = commands(line, tokens, &mut position)?;
    if position == tokens.len() { Ok(read) } else { Err("a parenthesis is closed that was not opened".into()) }
}

/// Reads until the end or a closing parenthesis.
fn commands(line: usize, tokens: &[Token], position: &mut usize) -> Result<Pipeline, String> {
    let mut commands: Vec<Vec<Operand>> = vec![Vec::new()];
    while let Some(token) = tokens.get(*position) {
        let base = match token {
            Token::Sign(")") => break,
            Token::Space => {
                *position += 1;
                continue;
            }
            Token::Sign("|") => {
                *position += 1;
                commands.push(Vec::new());
                continue;
            }
            Token::Sign("(") => {
                *position += 1;
                let inner = self::commands(line, tokens, position)?;
                if tokens.get(*position) != Some(&Token::Sign(")")) {
                    return Err("a parenthesis is not closed".into());
                }
                Operand::Path(Base::Parenthesis(Box::new(inner)), Vec::new())
            }
            Token::Sign(sign) => return Err(format!("{sign} has no place here")),
            Token::Field(name) if name.is_empty() => Operand::Path(Base::Dot, Vec::new()),
            Token::Field(name) => Operand::Path(Base::Dot, vec![name.clone()]),
            Token::Variable(name) => Operand::Path(Base::Variable(name.clone()), Vec::new()),
            Token::Text(text) => Operand::Text(text.clone()),
            Token::Int(int) => Operand::Int(*int),
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                _ => Operand::Function(word.clone()),
            },
        };
        *position += 1;
        let mut operand = base;
        // Fields without space in between belong to what stands before them.
        while let Some(Token::Field(name)) = tokens.get(*position) {
            match &mut operand {
                Operand::Path(_, path) if !name.is_empty() => path.push(name.clone()),
                _ => return Err(format!(".{name} has no place here")),
            }
            *position += 1;
        }
        if let Some(command) = commands.last_mut() {
            command.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("a pipeline with nothing in it".into());
    }
    Ok(Pipeline { line, commands })
}
