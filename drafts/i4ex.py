"""Put exercises into the notebooks of /tmp/i4 (rebuilt from main's each time)."""
import json, pathlib, re, sys
ROOT=pathlib.Path('/tmp/i4/notebooks')
SRC=pathlib.Path('/work/main/notebooks')
def md(t,**m): return {'cell_type':'markdown','id':'x','metadata':m,'source':t.strip('\n').splitlines(keepends=True)}
def code(t,*tags,**m):
    c={'cell_type':'code','id':'x','metadata':dict(m),'source':t.strip('\n').splitlines(keepends=True),'execution_count':None,'outputs':[]}
    if tags: c['metadata']['tags']=list(tags)
    return c
class NB:
    def __init__(s,nn):
        p=next(SRC.glob(nn+'_*.ipynb')); s.path=ROOT/p.name; s.nb=json.loads(p.read_text()); s.cells=s.nb['cells']
    def sub(s,a,b,n=1):
        hits=[c for c in s.cells if a in ''.join(c['source'])]
        assert len(hits)==n,(s.path.name,len(hits),a[:70])
        for h in hits: h['source']=''.join(h['source']).replace(a,b).splitlines(keepends=True)
    def find(s,a):
        i=[k for k,c in enumerate(s.cells) if a in ''.join(c['source'])]
        assert len(i)==1,(s.path.name,len(i),a[:70]); return i[0]
    def text(s,i): return ''.join(s.cells[i]['source'])
    def set(s,i,t): s.cells[i]['source']=t.strip('\n').splitlines(keepends=True)
    def objectives(s,items):
        t=s.text(0); lines='\n'.join(f'  {i}. {x};' for i,x in enumerate(items,1)); lines=lines[:-1]+'.'
        t=re.sub(r'- \*\*What you will learn\*\*:.*?(?=\n- \*\*What you need)', lambda m:'- **What you will learn**, and check with an exercise and a question each:\n'+lines, t, flags=re.S)
        s.set(0,t)
    def exercises(s,intro,items,number0,module):
        """items: (title, statement, stub, check call, solution)"""
        i=s.find('## Exercises'); del s.cells[i]
        new=[]; pending=f'## Exercises\n\n{intro}\n\n'
        for k,(title,statement,stub,check,solution) in enumerate(items,number0):
            new.append(md(pending+f'**Exercise {k}: {title}.** {statement.strip()}'))
            new.append(code(stub,'exercise')); new.append(code(check,'check'))
            pending='<details><summary>Solution</summary>\n\n'+solution.strip()+'\n\n</details>\n\n'
        new.append(md(pending)); s.cells[i:i]=new
    def quiz(s,questions):
        """questions: (objective-ordered) (question, [(text, right?, why)])"""
        out=['## Quiz\n\nOne question for each objective. Below, the same as a form that answers you.']
        for k,(q,options) in enumerate(questions,1):
            right=sum(r for _,r,_ in options); how='Choose one.' if right==1 else 'Choose all that apply.'
            opts='\n'.join(f'- **{"abcdef"[j]}** {t}' for j,(t,_,_) in enumerate(options))
            ans='\n'.join(f'- **{"abcdef"[j]}** {"Right" if r else "Wrong"}. {w}' for j,(_,r,w) in enumerate(options))
            out.append(f'**Question {k}.** {q} {how}\n\n{opts}\n\n<details><summary>Answer</summary>\n\n{ans}\n\n</details>')
        last=len(s.cells)-1
        s.cells[last:last]=[md('\n\n'.join(out)), code(f'quiz("{s.path.name}")','quiz')]
    def save(s):
        for k,c in enumerate(s.cells,1): c['id']=f'cell-{k:02d}'
        s.path.write_text(json.dumps(s.nb,indent=1,ensure_ascii=False)+'\n'); print(s.path.name,len(s.cells),'cells')
