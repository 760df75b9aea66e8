/// The page of a report, in Mustache. Every value goes through ``HTMLText``; nothing in it is a link or a script.
enum HTMLTemplate {
    static let style = """
        :root { color-scheme: light dark; --text: #1c2024; --soft: #5b6570; --line: #d5dbe1; --page: #fff; --band: #f5f7f9;
          --pass: #13703a; --fail: #b3261e; --inconclusive: #8a5a00; }
        @media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #9aa5b1; --line: #39424c; --page: #14181c;
          --band: #1d2329; --pass: #5fd08a; --fail: #ff8a80; --inconclusive: #f2bd58; } }
        * { box-sizing: border-box; }
        body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; background: var(--page); color: var(--text);
          font: 16px/1.5 system-ui, sans-serif; }
        h1 { margin: 0; font-size: 1.25rem; font-weight: 600; }
        h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem; }
        h3 { margin: 0; font-size: 1rem; }
        p { margin: .4rem 0; }
        .soft { color: var(--soft); } .message { white-space: pre-line; }
        .banner { margin: 1rem 0; padding: 1rem 1.25rem; border-left: .5rem solid; background: var(--band); }
        .banner .word { font-size: 2rem; font-weight: 700; line-height: 1.2; }
        .banner .reason { color: var(--text); }
        .pass { color: var(--pass); } .fail { color: var(--fail); } .inconclusive { color: var(--inconclusive); }
        .verdict { font-weight: 600; white-space: nowrap; }
        table { width: 100%; border-collapse: collapse; }
        th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
          overflow-wrap: anywhere; }
        thead th { color: var(--soft); font-size: .85rem; font-weight: 600; overflow-wrap: normal; }
        th[scope=row] { font-weight: 500; }
        .facts th[scope=row] { width: 14rem; overflow-wrap: normal; }
        .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
        .when { white-space: nowrap; overflow-wrap: normal; }
        .group { margin: 0 0 1rem; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: .4rem;
          break-inside: avoid; }
        .group .next { margin-top: .6rem; }
        code, .line { font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
        .line { margin: .25rem 0; unicode-bidi: plaintext; }
        details { margin-top: .6rem; } summary { cursor: pointer; color: var(--soft); }
        ul { margin: .4rem 0; padding-left: 1.25rem; } li { margin: .2rem 0; overflow-wrap: anywhere; }
        @media (max-width: 40rem) { body { padding: 1rem 1rem 3rem; } .facts th[scope=row] { width: 8.5rem; }
          .wide thead { display: none; } .wide tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
          .wide th, .wide td { display: block; padding: 0; border: 0; text-align: left; }
          .wide td[data-name]::before { content: attr(data-name) " "; color: var(--soft); font-weight: 400; }
          .wide td[data-name] { display: inline-block; margin-right: .9rem; }
          .wide td:empty { display: none; } }
        @media print { :root { --text: #000; --soft: #444; --line: #999; --page: #fff; --band: #fff; --pass: #13703a;
          --fail: #b3261e; --inconclusive: #8a5a00; } body { max-width: none; padding: 0; font-size: 10.5pt; }
          tr { break-inside: avoid; } h2 { break-after: avoid; } }
        """

    static let page = """
        {{% CONTENT_TYPE:MUSTER}}<!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{{styleDigest}}'; \
        base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <title>{{verdictWord}}: {{drill}}, {{runID}}</title>
        <style>{{{style}}}</style>
        </head>
        <body>
        <header>
        <h1>Restore drill {{drill}}</h1>
        {{#description}}<p class="soft">{{.}}</p>
        {{/description}}</header>
        <section class="banner {{verdict}}">
        <div class="word">{{verdictWord}}</div>
        <div class="reason">{{reason}}</div>
        </section>
        <table class="facts">
        {{#facts}}<tr><th scope="row">{{name}}</th><td{{#mark}} class="{{.}}"{{/mark}}>{{value}}</td></tr>
        {{/facts}}</table>
        {{#hasFailing}}<h2>What is wrong, and what to do next</h2>
        {{#notPassed}}<p class="message"><span class="verdict {{verdict}}">{{name}}</span>: {{message}}</p>
        {{/notPassed}}        {{#failing}}{{>group}}{{/failing}}{{/hasFailing}}<h2>Probes and stages</h2>
        <table class="wide">
        <thead><tr><th>Name</th><th>Verdict</th><th class="number">Examined</th><th class="number">Passed</th>
        <th class="number">Failed</th><th class="number">Unknown</th><th class="number">Time</th></tr></thead>
        <tbody>
        {{#cases}}<tr><th scope="row">{{name}}{{#kind}} <span class="soft">{{.}}</span>{{/kind}}<div class="soft message">{{message}}</div></th>\
        <td class="verdict {{verdict}}">{{verdict}}</td><td class="number" data-name="Examined">{{examined}}</td>\
        <td class="number" data-name="Passed">{{passed}}</td><td class="number" data-name="Failed">{{failed}}</td>\
        <td class="number" data-name="Unknown">{{unknown}}</td><td class="number" data-name="Time">{{time}}</td></tr>
        {{/cases}}</tbody>
        </table>
        {{#hasReported}}<h2>Reported only</h2>
        <p class="soft">The drill file asks to report these; they do not change the verdict.</p>
        {{#reported}}{{>group}}{{/reported}}{{/hasReported}}<h2>Notes, and what this report does not say</h2>
        <ul>
        {{#limits}}<li>{{.}}</li>
        {{/limits}}</ul>
        {{#hasPhases}}<h2>Phases</h2>
        <table class="wide">
        <thead><tr><th>Phase</th><th>Began</th><th class="number">Took</th><th>Detail</th></tr></thead>
        <tbody>
        {{#phases}}<tr><th scope="row">{{name}}</th><td class="when">{{began}}</td><td class="number" data-name="Took">{{took}}</td><td>{{detail}}</td></tr>
        {{/phases}}</tbody>
        </table>
        {{/hasPhases}}{{#hasTables}}<h2>Restored tables</h2>
        <table>
        <thead><tr><th>Table</th><th class="number">Rows</th></tr></thead>
        <tbody>
        {{#tables}}<tr><th scope="row">{{table}}</th><td class="number">{{rows}}</td></tr>
        {{/tables}}</tbody>
        </table>
        {{#moreTables}}<p class="soft">{{.}}</p>
        {{/moreTables}}{{/hasTables}}<h2>This run</h2>
        <table class="facts">
        {{#particulars}}<tr><th scope="row">{{name}}</th><td><code>{{value}}</code></td></tr>
        {{/particulars}}</table>
        </body>
        </html>

        """

    static let group = """
        {{% CONTENT_TYPE:MUSTER}}<section class="group">
        <h3>{{probe}}: {{title}}</h3>
        <p class="line">{{#several}}first: {{/several}}{{first}}</p>
        {{#several}}<p class="line">last: {{last}}</p>
        {{/several}}<p class="next"><strong>Next:</strong> {{next}}</p>
        {{#more}}<details><summary>{{label}}</summary>
        {{#lines}}<p class="line">{{.}}</p>
        {{/lines}}</details>
        {{/more}}</section>

        """
}
