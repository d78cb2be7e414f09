"""What the chat page makes of a model's Markdown: nodes for what is meant, text for all else."""

from __future__ import annotations

import html
import itertools
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from oa_client.local import LocalServer
from tests.local.page.visitor import Visitor
from tests.local.support import Puppet

RENDER = """
async (source) => {
  const { renderMarkdown } = await import("/chat/markdown.js");
  const place = document.createElement("div");
  place.append(renderMarkdown(source));
  return place.innerHTML;
}
"""
MEASURE = """
async (source) => {
  const { renderMarkdown } = await import("/chat/markdown.js");
  const depth = (node) => {
    let most = 0;
    const open = [[node, 0]];
    while (open.length) {
      const [one, level] = open.pop();
      most = Math.max(most, level);
      for (const child of one.childNodes) open.push([child, level + 1]);
    }
    return most;
  };
  const fragment = renderMarkdown(source);
  return [depth(fragment), fragment.textContent.length];
}
"""
LINK = '<a href="{0}" rel="noopener noreferrer nofollow" target="_blank" title="{0}">'
MOST_DEPTH = 40  # levels of nodes, whatever the text
MOST_SECONDS = 5  # for a hundred thousand characters; what takes their square takes minutes


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """The page, for its module alone."""
    with LocalServer("lorem") as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(server.page_url())
        page.wait_for_url("**/chat")
        yield page


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>", id="paragraphs"),
        pytest.param("# A\n###### B #", "<h4>A</h4><h6>B</h6>", id="headings"),
        pytest.param(
            "*a* **b** ***c*** _d_ __e__ ~~f~~",
            "<p><em>a</em> <strong>b</strong> <strong><em>c</em></strong> <em>d</em> <strong>e</strong> "
            "<del>f</del></p>",
            id="emphasis",
        ),
        pytest.param("*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>", id="emphasis in emphasis"),
        pytest.param("`a*b*` ``c`d`` ` e", "<p><code>a*b*</code> <code>c`d</code> ` e</p>", id="code in a line"),
        pytest.param(
            "```py\nif a < b:\n\tc\n\n```\nafter",
            '<pre tabindex="0"><code>if a &lt; b:\n\tc\n</code></pre><p>after</p>',
            id="block of code",
        ),
        pytest.param("~~~\na\n```\nb", '<pre tabindex="0"><code>a\n```\nb</code></pre>', id="unfinished code"),
        pytest.param(
            "- a\n- b\n  - c\n\n- d",
            "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li><li><p>d</p></li></ul>",
            id="lists in lists",
        ),
        pytest.param("3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>', id="numbers"),
        pytest.param("* a\n\tb\n* * *", "<ul><li><p>a\nb</p></li></ul><hr>", id="rule after a list"),
        pytest.param("- a\nb", "<ul><li><p>a\nb</p></li></ul>", id="lazy line"),
        pytest.param("In\n1986. A year", "<p>In\n1986. A year</p>", id="year"),
        pytest.param(
            "1. a\n\n   ```\n   b\n   ```\n2. c",
            '<ol><li><p>a</p><pre tabindex="0"><code>b</code></pre></li><li><p>c</p></li></ol>',
            id="code in a list",
        ),
        pytest.param(
            "> a\n> - b\n\nc", "<blockquote><p>a</p><ul><li><p>b</p></li></ul></blockquote><p>c</p>", id="quote"
        ),
        pytest.param(
            r"|a|b|" "\n|-|:-:|\n" r"|1|2\|3|x|",
            '<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead><tr><th>a</th><th>b</th>'
            "</tr></thead><tbody><tr><td>1</td><td>2|3</td></tr></tbody></table></div>",
            id="table",
        ),
        pytest.param(
            "[a *b*](https://example.org/x_(y))",
            f"<p>{LINK.format('https://example.org/x_(y)')}a <em>b</em></a></p>",
            id="link",
        ),
        pytest.param(
            '[a](http://example.org "title")', f"<p>{LINK.format('http://example.org/')}a</a></p>", id="link with title"
        ),
        pytest.param(
            "See https://example.org/a_b_c, or <http://example.org/>.",
            f"<p>See {LINK.format('https://example.org/a_b_c')}https://example.org/a_b_c</a>, "
            f"or {LINK.format('http://example.org/')}http://example.org/</a>.</p>",
            id="addresses",
        ),
        pytest.param(
            "(https://example.org/x_(y))",
            f"<p>({LINK.format('https://example.org/x_(y)')}https://example.org/x_(y)</a>)</p>",
            id="address in brackets",
        ),
        pytest.param(
            "![a cat](https://example.org/cat.png)",
            f"<p>{LINK.format('https://example.org/cat.png')}Image: a cat</a></p>",
            id="image",
        ),
        pytest.param(
            "[a [b](http://b.example) c](http://a.example)",
            f"<p>[a {LINK.format('http://b.example/')}b</a> c]({LINK.format('http://a.example/')}http://a.example</a>)</p>",
            id="link in a link",
        ),
        pytest.param(r"\*a\* \\ \a", r"<p>*a* \ \a</p>", id="escapes"),
        pytest.param("a\r\nb\rc", "<p>a\nb\nc</p>", id="line ends"),
    ],
)
def test_what_is_meant(page: Page, source: str, expected: str) -> None:
    """Marks become nodes."""
    assert expected == page.evaluate(RENDER, source)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "2 * 3 * 4",
            "snake_case_name",
            "a ** b",
            "5 > 4 > 3",
            "a | b",
            "#hash",
            "+1",
            "-1",
            "~a~",
            "a****b",
            "!",
            "x]",
            "[x",
        ),
        *(
            "[a](b)",
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a](data:text/html,x)",
            "[a](//b.example)",
        ),
        *(
            "<javascript:alert(1)>",
            "[a](vbscript:x)",
            "![a](data:image/svg+xml,x)",
            "[a](file:///etc/passwd)",
            "http://",
        ),
        *(r"\(a^2\)", r"\[ \{a_i\}, *b* \\ c* \]", r"$$\{a\} * b*$$", r"of \(a", r"\[a](b)", "a$$"),
        *("[a](http://)", "[a] (b)", "*a", "**a* b", "a*b", "`a", "[a](https:b c)"),
    ],
)
def test_what_is_text(page: Page, source: str) -> None:
    """Formulas, marks that mean nothing, and links that may not be followed, stand as they were written."""
    assert f"<p>{html.escape(source, quote=False)}</p>" == page.evaluate(RENDER, source)


def test_hostile_html_is_text(visitor: Visitor, puppet: Puppet) -> None:
    """Nothing of it runs or is loaded: neither while the answer is written nor when it is done, nor after a reload."""
    attacks = [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "<svg/onload=document.title='owned'>",
        "<iframe src=\"javascript:document.title='owned'\"></iframe>",
        "<a href=\"javascript:document.title='owned'\">click</a>",
        "[click](javascript:document.title='owned')",
        "[click](http://a.example/\"onmouseover=\"document.title='owned')",
        "![x](http://127.0.0.1:9/pixel.png)",
        "`</code><script>document.title='owned'</script>`",
        "```html\n</code></pre><script>document.title='owned'</script>\n```",
        "|<img src=x onerror=alert(1)>|b|\n|-|-|\n|<script>1</script>|c|",
        "<style>* { display: none }</style>",
        '<form action="http://a.example"><input name=q></form>',
        "<!-- --><base href=http://a.example>",
    ]
    requests: list[str] = []
    visitor.page.on("request", lambda request: requests.append(request.url))
    play = puppet.play("Attack")
    visitor.ask("Attack")
    play.say("\n\n".join(attacks))
    expect(visitor.text).to_contain_text("<base href=http://a.example>")
    play.finish()
    expect(visitor.button("Regenerate")).to_be_visible()
    visitor.page.reload()
    expect(visitor.text).to_contain_text("<base href=http://a.example>")

    forbidden = "script, img, svg, iframe, style, form, input, base, [onerror], [onload], [onmouseover]"
    assert visitor.text.locator(forbidden).count() == 0
    addresses = [link.get_attribute("href") or "" for link in visitor.text.get_by_role("link").all()]
    assert all(address.startswith(("http://", "https://")) for address in addresses)
    assert visitor.page.title() == "Attack – Chat"  # noqa: RUF001
    assert all(url.startswith(visitor.server.url) for url in requests)


def test_links_are_opened_elsewhere(visitor: Visitor, puppet: Puppet) -> None:
    """In a page of their own that knows nothing of this one."""
    puppet.play("Link").finish("[there](https://example.org/)")
    visitor.ask("Link")
    link = visitor.text.get_by_role("link", name="there")

    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("target", "_blank")


MARKS = [
    "*",
    "**",
    "_",
    "`",
    "``",
    "[",
    "](",
    "![",
    "<",
    "<http://",
    "http://",
    "|",
    "> ",
    "- ",
    "1. ",
    "#",
    "\\",
    "~~",
    "\\(",
    "\\[",
    "$$",
]
HOSTILE = [
    *MARKS,
    *(f"{mark}a" for mark in MARKS),
    *(f"{mark}a\n" for mark in MARKS),
    *(f"a{one}b{two}" for one, two in itertools.permutations(["*", "_", "[", "]", "`", "](http://a"], 2)),
    *("[a](", "[a](http://b ", '[a](http://b "', "![a](<", "a](b(", "*a_ ", "**a* ", "[*a", "]*", "((", "))", "```\n"),
    *(
        "|a",
        "|\n",
        "|-",
        "|a|b|\n|-|-|\n",
        "- \n",
        "  - a\n",
        "\t- a\n",
        "> > ",
        "- - ",
        "\u2028",
        "# \u2028 ",
        "   ",
        "\\|",
    ),
    *("a\n", "\n", " \n", "1. a\n\n", "- a\n\n\n", "---", "- - -x\n", "=\n", "~~~\n```\n", "&lt;", "<a ", "</", "<!--"),
]


@pytest.mark.parametrize("piece", [pytest.param(piece, id=repr(piece)) for piece in HOSTILE])
def test_hostile_repetition_takes_no_time(page: Page, piece: str) -> None:
    """A hundred thousand characters of it are done at once, with nodes of limited depth and nothing left out."""
    source = (piece * 100_000)[:100_000]
    started = time.perf_counter()
    depth, length = page.evaluate(MEASURE, source)
    took = time.perf_counter() - started

    assert depth <= MOST_DEPTH
    assert length <= len(source) + len("Image: ") * source.count("![")
    assert took < MOST_SECONDS


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("> " * 50_000 + "a", id="quotes"),
        pytest.param("\n".join("  " * level + "- a" for level in range(400)), id="lists"),
        pytest.param("*" + "a *" * 30_000, id="emphasis"),
        pytest.param("[" * 50_000 + "](http://a.example)" * 2000, id="links"),
        pytest.param("".join("`" * length + " " for length in range(1, 440)), id="backticks, all of another length"),
        pytest.param("|" + "a|" * 10_000 + "\n|" + "-|" * 10_000 + "\n" + "|\n" * 10_000, id="wide table"),
        pytest.param(" " * 99_000 + "x", id="white space"),
        pytest.param("[a](" + " " * 90_000 + "x", id="white space for an address"),
        pytest.param("# " + " " * 90_000 + "#\u2028 " * 900, id="heading"),
        pytest.param("a" * 3_000_000, id="far too long"),
    ],
)
def test_hostile_nesting_takes_no_time(page: Page, source: str) -> None:
    """Nesting has a limit, and so has what is looked at; three times, as while it is being written."""
    started = time.perf_counter()
    depth, _ = max(page.evaluate(MEASURE, source) for _ in range(3))
    took = time.perf_counter() - started

    assert depth <= MOST_DEPTH
    assert took < MOST_SECONDS


def test_what_is_too_long_is_shown_as_it_is(page: Page) -> None:
    """All of it, the rest without marks."""
    found = page.evaluate(RENDER, "*a* " * 25_000 + "*b*")

    assert found.count("<em>") == 25_000
    assert found.endswith('</p><p class="plain">*b*</p>')
